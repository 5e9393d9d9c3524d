namespace GpuEngine.Core.Graph;

/// <summary>
/// C = op(A) op(B): op(A) is [..., m, k], op(B) is [..., k, n]; the leading (batch) axes are equal. A flag says that the
/// operand is stored transposed.
/// </summary>
public sealed record MatMulOp(bool TransposeA, bool TransposeB) : Primitive
{
    public override string Name => "matmul";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (a, b) = (inputs[0], inputs[1]);
        if (a.DType != b.DType || !a.DType.IsFloat() || a.Shape.Rank < 2 || a.Shape.Rank != b.Shape.Rank)
            throw Mismatch(Name, "two float tensors of one dtype and equal rank (2 or more)", inputs);
        var (m, k) = TransposeA ? (a.Shape[^1], a.Shape[^2]) : (a.Shape[^2], a.Shape[^1]);
        var (k2, n) = TransposeB ? (b.Shape[^1], b.Shape[^2]) : (b.Shape[^2], b.Shape[^1]);
        if (k != k2 || !a.Shape.AsSpan()[..^2].SequenceEqual(b.Shape.AsSpan()[..^2]))
            throw new ShapeException($"matmul: shapes {Text(a, TransposeA)} and {Text(b, TransposeB)} do not fit: inner extents {k} and {k2}.");
        return [a with { Shape = new Shape([.. a.Shape.AsSpan()[..^2], m, n]) }];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (a, b) = (node.Inputs[0], node.Inputs[1]);
        var da = TransposeA ? F.MatMul(b, g, TransposeB, true) : F.MatMul(g, b, false, !TransposeB);
        var db = TransposeB ? F.MatMul(g, a, true, TransposeA) : F.MatMul(a, g, !TransposeA, false);
        return [da, db];
    }

    public override Cost Cost(Node node)
    {
        var a = node.Inputs[0].Shape;
        var k = TransposeA ? a[^2] : a[^1];
        return Graph.Cost.Streaming(node, 2 * node.Outputs[0].Type.Elements * k);
    }

    private static string Text(TensorType type, bool transposed) => transposed ? $"{type.Shape}^T" : type.Shape.ToString();
}
