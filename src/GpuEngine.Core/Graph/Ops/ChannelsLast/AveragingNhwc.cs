namespace GpuEngine.Core.Graph;

/// <summary>An <see cref="AveragingOp"/> with channels last: from [N, H, W, C] to [N, P, Q, C].</summary>
public sealed record AveragingNhwcOp(AveragingOp Of) : FusedOp
{
    public override string Name => Of.Name + "_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs[0].Shape.Rank != 4) throw Mismatch(Name, "a float tensor [N, H, W, C]", inputs);
        return [.. Of.Infer([inputs[0] with { Shape = Layouts.ChannelsFirst(inputs[0].Shape) }]).Select(t => t with { Shape = Layouts.ChannelsLast(t.Shape) })];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
        [Layouts.ChannelsLast(Of.Apply(Layouts.ChannelsFirst(inputs[0])).Outputs[0])];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new AveragingBackwardNhwcOp(Of, node.Inputs[0].Shape).Apply(g).Outputs[0] : null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);
}

/// <summary><see cref="AveragingBackwardOp"/> with channels last: from dy [N, P, Q, C] to dx [N, H, W, C].</summary>
public sealed record AveragingBackwardNhwcOp(AveragingOp Of, Shape InputShape) : FusedOp
{
    public override string Name => Of.Name + "_backward_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var expected = new AveragingNhwcOp(Of).Infer([inputs[0] with { Shape = InputShape }])[0];
        return inputs[0] == expected ? [inputs[0] with { Shape = InputShape }] : throw Mismatch(Name, $"a gradient {expected}", inputs);
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
    [
        Layouts.ChannelsLast(new AveragingBackwardOp(Of, Layouts.ChannelsFirst(InputShape)).Apply(Layouts.ChannelsFirst(inputs[0])).Outputs[0]),
    ];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new AveragingNhwcOp(Of).Apply(g).Outputs[0] : null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Outputs[0].Type.Elements);
}
