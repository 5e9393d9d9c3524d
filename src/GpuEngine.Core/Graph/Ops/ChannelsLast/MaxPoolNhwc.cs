namespace GpuEngine.Core.Graph;

/// <summary>
/// <see cref="MaxPoolOp"/> with channels last: from [N, H, W, C] to the maxima [N, P, Q, C] and where they were (i32, row-major in
/// the H x W plane).
/// </summary>
public sealed record MaxPoolNhwcOp(MaxPoolOp Of) : FusedOp
{
    public override string Name => "max_pool2d_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs[0].Shape.Rank != 4) throw Mismatch(Name, "a float tensor [N, H, W, C]", inputs);
        return [.. Of.Infer([inputs[0] with { Shape = Layouts.ChannelsFirst(inputs[0].Shape) }]).Select(t => t with { Shape = Layouts.ChannelsLast(t.Shape) })];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
        [.. Of.Apply(Layouts.ChannelsFirst(inputs[0])).Outputs.Select(Layouts.ChannelsLast)];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => outputGradients[0] is { } g
        ? [new MaxPoolBackwardNhwcOp(Of, node.Inputs[0].Shape).Apply(g, node.Outputs[1]).Outputs[0]]
        : [null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Outputs[0].Type.Elements * Of.Kernel[0] * Of.Kernel[1]);
}

/// <summary><see cref="MaxPoolBackwardOp"/> with channels last: from dy [N, P, Q, C] and the indices to dx [N, H, W, C].</summary>
public sealed record MaxPoolBackwardNhwcOp(MaxPoolOp Of, Shape InputShape) : FusedOp
{
    public override string Name => "max_pool2d_backward_nhwc";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var expected = new MaxPoolNhwcOp(Of).Infer([inputs[0] with { Shape = InputShape }]);
        return inputs[0] == expected[0] && inputs[1] == expected[1]
            ? [inputs[0] with { Shape = InputShape }]
            : throw Mismatch(Name, $"a gradient {expected[0]} and indices {expected[1]}", inputs);
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
    [
        Layouts.ChannelsLast(new MaxPoolBackwardOp(Of, Layouts.ChannelsFirst(InputShape))
            .Apply(Layouts.ChannelsFirst(inputs[0]), Layouts.ChannelsFirst(inputs[1])).Outputs[0]),
    ];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);
}
