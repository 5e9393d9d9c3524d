namespace GpuEngine.Core.Graph;

/// <summary>
/// The geometry that the three convolutions share: per spatial axis (height, width) stride, zero padding on both sides,
/// dilation; and the number of groups.
/// </summary>
public readonly record struct ConvGeometry(Ints Stride, Ints Padding, Ints Dilation, int Groups)
{
    /// <summary>The output extent of spatial axis <paramref name="axis"/>.</summary>
    public int OutputExtent(int axis, int input, int kernel) =>
        (input + 2 * Padding[axis] - Dilation[axis] * (kernel - 1) - 1) / Stride[axis] + 1;

    /// <summary>The output shape for an input [N, C, H, W] and a weight [K, C/groups, R, S].</summary>
    /// <exception cref="ShapeException">They do not fit.</exception>
    public Shape OutputShape(Shape x, Shape w)
    {
        if (x.Rank != 4 || w.Rank != 4)
            throw new ShapeException($"conv2d: expected input [N, C, H, W] and weight [K, C/groups, R, S], but got {x} and {w}.");
        if (Groups < 1 || x[1] != w[1] * Groups || w[0] % Groups != 0)
            throw new ShapeException($"conv2d: input {x} has {x[1]} channels, but weight {w} with groups={Groups} takes {w[1] * (long)Groups} (and its {w[0]} outputs must divide by groups).");
        for (var i = 0; i < 2; i++)
        {
            if (Stride[i] < 1 || Dilation[i] < 1 || Padding[i] < 0)
                throw new ShapeException($"conv2d: stride {Stride} and dilation {Dilation} must be positive and padding {Padding} not negative.");
            if (x[2 + i] + 2 * Padding[i] < Dilation[i] * (w[2 + i] - 1) + 1)
                throw new ShapeException($"conv2d: the weight {w} with dilation {Dilation} is larger than the padded input {x} (padding {Padding}).");
        }

        return [x[0], w[0], OutputExtent(0, x[2], w[2]), OutputExtent(1, x[3], w[3])];
    }

    /// <summary>Multiply-adds count two flops each.</summary>
    public static long Flops(Shape y, Shape w) => 2 * y.Elements * w[1] * w[2] * w[3];
}

/// <summary>Cross-correlation of input [N, C, H, W] with weight [K, C/groups, R, S], without bias.</summary>
public sealed record ConvolutionOp(ConvGeometry Geometry) : Primitive
{
    public override string Name => "convolution";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs[0].DType == inputs[1].DType && inputs[0].DType.IsFloat()
        ? [inputs[0] with { Shape = Geometry.OutputShape(inputs[0].Shape, inputs[1].Shape) }]
        : throw Mismatch(Name, "float tensors of one dtype", inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (x, w) = (node.Inputs[0], node.Inputs[1]);
        return [F.ConvolutionInput(g, w, x.Shape, Geometry), F.ConvolutionWeight(g, x, w.Shape, Geometry)];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Outputs[0].Shape, node.Inputs[1].Shape));
}

/// <summary>The gradient of a convolution with respect to its input: from dy [N, K, P, Q] and weight to dx [N, C, H, W].</summary>
public sealed record ConvolutionInputOp(ConvGeometry Geometry, Shape InputShape) : Primitive
{
    public override string Name => "convolution_input";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => Geometry.OutputShape(InputShape, inputs[1].Shape) == inputs[0].Shape
        ? [inputs[0] with { Shape = InputShape }]
        : throw Mismatch(Name, $"the gradient of a convolution of {InputShape} and its weight", inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (dy, w) = (node.Inputs[0], node.Inputs[1]);
        return [F.Convolution(g, w, Geometry), F.ConvolutionWeight(dy, g, w.Shape, Geometry)];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Inputs[0].Shape, node.Inputs[1].Shape));
}

/// <summary>The gradient of a convolution with respect to its weight: from dy [N, K, P, Q] and input [N, C, H, W] to dw.</summary>
public sealed record ConvolutionWeightOp(ConvGeometry Geometry, Shape WeightShape) : Primitive
{
    public override string Name => "convolution_weight";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => Geometry.OutputShape(inputs[1].Shape, WeightShape) == inputs[0].Shape
        ? [inputs[0] with { Shape = WeightShape }]
        : throw Mismatch(Name, $"the gradient of a convolution with weight {WeightShape} and its input", inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (dy, x) = (node.Inputs[0], node.Inputs[1]);
        return [F.Convolution(x, g, Geometry), F.ConvolutionInput(dy, g, x.Shape, Geometry)];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Inputs[0].Shape, node.Outputs[0].Shape));
}
