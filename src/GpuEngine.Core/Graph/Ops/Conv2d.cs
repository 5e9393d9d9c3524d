namespace GpuEngine.Core.Graph;

/// <summary>
/// Cross-correlation of input [N, C, H, W] with weight [K, C/groups, R, S] plus bias [K] (optional): torch's conv2d.
/// y[n,k,p,q] = bias[k] + sum over c, r, s of x[n, c, p*stride + r*dilation - padding, ...] w[k,c,r,s].
/// </summary>
public sealed record Conv2dOp(ConvGeometry Geometry, bool Bias) : FusedOp
{
    internal static readonly OpSpec Spec = new("conv2d", "cross-correlation of images with a bank of filters")
    {
        Arguments = [new("input"), new("weight"), new("bias", Optional: true)],
        Attributes =
        [
            new("stride", 1, "step of the window; a number or [height, width]"),
            new("padding", 0, "zeros on both sides; a number, [height, width], \"same\" or \"valid\""),
            new("dilation", 1, "distance between the taps of a filter; a number or [height, width]"),
            new("groups", 1, "channels are split into this many groups that do not see each other"),
        ],
        Build = call => call.Output(F.Conv2d(
            call["input"], call["weight"], call.Optional("bias"), SpatialPair.Of(call.Pair("stride")),
            call.IsText("padding") ? call.Text("padding") : SpatialPair.Of(call.Pair("padding")),
            SpatialPair.Of(call.Pair("dilation")), call.Integer("groups"))),
        Samples = Conv2dSamples.All,
    };

    public override string Name => "conv2d";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        if (x.DType != w.DType || !x.DType.IsFloat()) throw Mismatch(Name, "float tensors of one dtype", inputs);
        var y = Geometry.OutputShape(x.Shape, w.Shape);
        if (w.Shape[2] < 1 || w.Shape[3] < 1) throw new ShapeException($"conv2d: the weight {w.Shape} has an empty window.");
        if (Bias && (inputs[2].DType != x.DType || inputs[2].Shape != new Shape(w.Shape[0])))
            throw new ShapeException($"conv2d: the weight {w.Shape} has {w.Shape[0]} outputs and needs a bias of shape [{w.Shape[0]}], but got {inputs[2]}.");
        return [x with { Shape = y }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var y = F.Convolution(inputs[0], inputs[1], Geometry);
        return [Bias ? y + F.Reshape(inputs[2], [1, y.Shape[1], 1, 1]) : y];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return new Tensor?[node.Inputs.Count];
        var (x, w) = (node.Inputs[0], node.Inputs[1]);
        var dx = F.ConvolutionInput(g, w, x.Shape, Geometry);
        var dw = F.ConvolutionWeight(g, x, w.Shape, Geometry);
        return Bias ? [dx, dw, F.Reshape(F.Sum(g, [0, 2, 3]), node.Inputs[2].Shape)] : [dx, dw];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Outputs[0].Shape, node.Inputs[1].Shape));
}

public static partial class F
{
    /// <summary>
    /// conv2d of input [N, C, H, W] or [C, H, W] with weight [K, C/groups, R, S] and bias [K]. Padding "same" pads by
    /// dilation * (kernel - 1) in all, the odd zero on the right and bottom, and needs stride 1.
    /// </summary>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static Tensor Conv2d(
        Tensor input, Tensor weight, Tensor? bias = null, SpatialPair? stride = null, ConvPadding padding = default,
        SpatialPair? dilation = null, int groups = 1)
    {
        if (input.Rank == 3)
        {
            var single = Conv2d(Reshape(input, [1, .. input.Shape]), weight, bias, stride, padding, dilation, groups);
            return Reshape(single, new Shape(single.Shape.AsSpan()[1..]));
        }

        var (step, spread, zeros) = (stride ?? 1, dilation ?? 1, padding.Amount);
        if (padding.IsSame && input.Rank == 4 && weight.Rank == 4)
        {
            if (step != 1) throw new ShapeException($"conv2d: padding=\"same\" needs stride 1, but the stride is {(Ints)step}.");
            var (high, wide) = (spread.Height * (weight.Shape[2] - 1), spread.Width * (weight.Shape[3] - 1));
            if (high >= 0 && wide >= 0)
            {
                // Zeros come in equal numbers on both sides; what is left of an odd total goes to the end, as in torch.
                input = Pad(input, [0, 0, 0, 0], [0, 0, high % 2, wide % 2]);
                zeros = (high / 2, wide / 2);
            }
        }

        var geometry = new ConvGeometry(step, zeros, spread, groups);
        return bias is null
            ? new Conv2dOp(geometry, false).Apply(input, weight).Outputs[0]
            : new Conv2dOp(geometry, true).Apply(input, weight, bias).Outputs[0];
    }
}
