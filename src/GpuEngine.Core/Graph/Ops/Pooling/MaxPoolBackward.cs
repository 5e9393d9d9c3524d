namespace GpuEngine.Core.Graph;

/// <summary>
/// The gradient of <see cref="MaxPoolOp"/>: inputs (dy, indices); each window's gradient is added to the place of its maximum.
/// </summary>
public sealed record MaxPoolBackwardOp(MaxPoolOp Of, Shape InputShape) : FusedOp
{
    public override string Name => "max_pool2d_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (dy, indices) = (inputs[0], inputs[1]);
        var expected = Of.Infer([dy with { Shape = InputShape }]);
        return dy == expected[0] && indices == expected[1]
            ? [dy with { Shape = InputShape }]
            : throw Mismatch(Name, $"a gradient {expected[0]} and indices {expected[1]}", inputs);
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (dy, indices) = (inputs[0], inputs[1]);
        Shape rows = [(int)InputShape.Product(0, 2), (int)dy.Shape.Product(2, 4)];
        var flat = F.ScatterAdd(F.Reshape(dy, rows), F.Reshape(indices, rows), InputShape[2] * InputShape[3]);
        return [F.Reshape(flat, InputShape)];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);
}
