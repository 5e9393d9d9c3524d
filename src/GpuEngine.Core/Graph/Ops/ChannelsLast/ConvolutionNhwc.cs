namespace GpuEngine.Core.Graph;

/// <summary>
/// <see cref="ConvolutionOp"/> with channels last: input [N, H, W, C], weight [K, R, S, C/groups], output [N, P, Q, K]. Tensor
/// cores want this layout; the pass <c>ChannelsLastLayout</c> brings it in.
/// </summary>
public sealed record ConvolutionNhwcOp(ConvGeometry Geometry) : FusedOp
{
    public override string Name => "convolution_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        if (x.DType != w.DType || !x.DType.IsFloat() || x.Shape.Rank != 4 || w.Shape.Rank != 4) throw Mismatch(Name, "float tensors [N, H, W, C] and [K, R, S, C/groups] of one dtype", inputs);
        return [x with { Shape = Layouts.ChannelsLast(Geometry.OutputShape(Layouts.ChannelsFirst(x.Shape), Layouts.ChannelsFirst(w.Shape))) }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
        [Layouts.ChannelsLast(F.Convolution(Layouts.ChannelsFirst(inputs[0]), Layouts.ChannelsFirst(inputs[1]), Geometry))];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (x, w) = (node.Inputs[0], node.Inputs[1]);
        return
        [
            new ConvolutionInputNhwcOp(Geometry, x.Shape).Apply(g, w).Outputs[0],
            new ConvolutionWeightNhwcOp(Geometry, w.Shape).Apply(g, x).Outputs[0],
        ];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Outputs[0].Shape, node.Inputs[1].Shape));
}

/// <summary><see cref="ConvolutionInputOp"/> with channels last: from dy [N, P, Q, K] and the weight to dx [N, H, W, C].</summary>
public sealed record ConvolutionInputNhwcOp(ConvGeometry Geometry, Shape InputShape) : FusedOp
{
    public override string Name => "convolution_input_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        Geometry.OutputShape(Layouts.ChannelsFirst(InputShape), Layouts.ChannelsFirst(inputs[1].Shape)) == Layouts.ChannelsFirst(inputs[0].Shape)
            ? [inputs[0] with { Shape = InputShape }]
            : throw Mismatch(Name, $"the gradient of a convolution of {InputShape} and its weight", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
    [
        Layouts.ChannelsLast(F.ConvolutionInput(
            Layouts.ChannelsFirst(inputs[0]), Layouts.ChannelsFirst(inputs[1]), Layouts.ChannelsFirst(InputShape), Geometry)),
    ];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (dy, w) = (node.Inputs[0], node.Inputs[1]);
        return [new ConvolutionNhwcOp(Geometry).Apply(g, w).Outputs[0], new ConvolutionWeightNhwcOp(Geometry, w.Shape).Apply(dy, g).Outputs[0]];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Inputs[0].Shape, node.Inputs[1].Shape));
}

/// <summary><see cref="ConvolutionWeightOp"/> with channels last: from dy [N, P, Q, K] and the input to dw [K, R, S, C/groups].</summary>
public sealed record ConvolutionWeightNhwcOp(ConvGeometry Geometry, Shape WeightShape) : FusedOp
{
    public override string Name => "convolution_weight_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        Geometry.OutputShape(Layouts.ChannelsFirst(inputs[1].Shape), Layouts.ChannelsFirst(WeightShape)) == Layouts.ChannelsFirst(inputs[0].Shape)
            ? [inputs[0] with { Shape = WeightShape }]
            : throw Mismatch(Name, $"the gradient of a convolution with weight {WeightShape} and its input", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
    [
        Layouts.ChannelsLast(F.ConvolutionWeight(
            Layouts.ChannelsFirst(inputs[0]), Layouts.ChannelsFirst(inputs[1]), Layouts.ChannelsFirst(WeightShape), Geometry)),
    ];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (dy, x) = (node.Inputs[0], node.Inputs[1]);
        return [new ConvolutionNhwcOp(Geometry).Apply(x, g).Outputs[0], new ConvolutionInputNhwcOp(Geometry, x.Shape).Apply(dy, g).Outputs[0]];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, ConvGeometry.Flops(node.Inputs[0].Shape, node.Outputs[0].Shape));
}
