namespace GpuEngine.Core.Graph;

/// <summary>
/// y[..., j] = x[..., index[..., j]] along the last axis; the leading axes are equal. An index outside [0, L) reads 0, which
/// is how ignored labels and padded pools are expressed.
/// </summary>
public sealed record GatherOp : Primitive
{
    public override string Name => "gather";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, index) = (inputs[0], inputs[1]);
        return Fits(x.Shape, index.Shape) && index.DType is DType.I32 or DType.I64
            ? [x with { Shape = index.Shape }]
            : throw Mismatch(Name, "a tensor and integer indices with equal leading axes", inputs);
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? F.ScatterAdd(g, node.Inputs[1], node.Inputs[0].Shape[^1]) : null, null];

    internal static bool Fits(Shape a, Shape b) => a.Rank == b.Rank && a.Rank > 0 && a.AsSpan()[..^1].SequenceEqual(b.AsSpan()[..^1]);
}

/// <summary>
/// y[..., index[..., j]] += x[..., j] into zeros of extent Length along the last axis, in ascending order of j: the adjoint of
/// <see cref="GatherOp"/>. Indices outside [0, Length) are dropped.
/// </summary>
public sealed record ScatterAddOp(int Length) : Primitive
{
    public override string Name => "scatter_add";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, index) = (inputs[0], inputs[1]);
        return x.Shape == index.Shape && x.Shape.Rank > 0 && index.DType is DType.I32 or DType.I64
            ? [x with { Shape = x.Shape.With(x.Shape.Rank - 1, Length) }]
            : throw Mismatch(Name, "a tensor and integer indices of one shape", inputs);
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? F.Gather(g, node.Inputs[1]) : null, null];
}

/// <summary>Rows of a table: y[..., :] = table[index[...], :]. The primitive behind embedding.</summary>
public sealed record GatherRowsOp : Primitive
{
    public override string Name => "index_select";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (table, index) = (inputs[0], inputs[1]);
        return table.Shape.Rank == 2 && index.DType is DType.I32 or DType.I64
            ? [table with { Shape = new Shape([.. index.Shape, table.Shape[1]]) }]
            : throw Mismatch(Name, "a table [rows, columns] and integer indices", inputs);
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? F.ScatterRows(g, node.Inputs[1], node.Inputs[0].Shape[0]) : null, null];
}

/// <summary>table[index[...], :] += x[..., :] into zeros of [Rows, columns], in ascending order of the index's position.</summary>
public sealed record ScatterRowsOp(int Rows) : Primitive
{
    public override string Name => "index_add";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, index) = (inputs[0], inputs[1]);
        return x.Shape.Rank == index.Shape.Rank + 1 && x.Shape.AsSpan()[..^1].SequenceEqual(index.Shape.AsSpan())
            ? [x with { Shape = [Rows, x.Shape[^1]] }]
            : throw Mismatch(Name, "rows [..., columns] and their indices [...]", inputs);
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? F.GatherRows(g, node.Inputs[1]) : null, null];
}
