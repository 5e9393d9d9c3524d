namespace GpuEngine.Core.Graph;

/// <summary>
/// Rows of a table: inputs weight [rows, columns] and integer indices [...], output [..., columns]. The row
/// <paramref name="PaddingIdx"/> is read like any other but gets no gradient.
/// </summary>
public sealed record EmbeddingOp(int? PaddingIdx) : FusedOp
{
    internal static readonly OpSpec Spec = new("embedding", "rows of a table, by index")
    {
        Arguments = [new("input", Differentiable: false), new("weight")],
        Attributes = [new("padding_idx", null, "row that gets no gradient; negative counts from the end")],
        Build = call => call.Output(F.Embedding(call["input"], call["weight"], call.Has("padding_idx") ? call.Integer("padding_idx") : null)),
        Samples =
        [
            new() { ["input"] = Sample.Index(11, 3, 7), ["weight"] = Sample.Normal(11, 5) },
            // No index hits the padding row: its gradient is 0 by decree, which differences would contradict.
            new() { ["input"] = Sample.Index(3, 23), ["weight"] = Sample.Normal(4, 33), Attributes = { ["padding_idx"] = -1 } },
        ],
    };

    public override string Name => "embedding";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (weight, index) = (inputs[0], inputs[1]);
        if (!weight.DType.IsFloat() || weight.Shape.Rank != 2 || index.DType is not (DType.I32 or DType.I64))
            throw Mismatch(Name, "a weight [rows, columns] and i32 or i64 indices", inputs);
        if (PaddingIdx is { } row && (row < 0 || row >= weight.Shape[0]))
            throw new ShapeException($"embedding: padding_idx {row} is outside the {weight.Shape[0]} rows of the weight {weight.Shape}.");
        return [weight with { Shape = new Shape([.. index.Shape, weight.Shape[1]]) }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var rows = F.GatherRows(inputs[0], inputs[1]);
        if (PaddingIdx is null) return [rows];
        var padding = F.Reshape(IsPadding(inputs[1]), new Shape([.. inputs[1].Shape, 1]));
        return [F.Where(padding, F.Detach(rows), rows)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var index = node.Inputs[1];
        // Indices outside the table are dropped.
        if (PaddingIdx is not null) index = F.Where(IsPadding(index), F.Scalar(-1, index.DType), index);
        return [F.ScatterRows(g, index, node.Inputs[0].Shape[0]), null];
    }

    public override Cost Cost(Node node) =>
        new(node.Outputs[0].Type.Bytes + node.Inputs[1].Type.Bytes, node.Outputs[0].Type.Bytes, 0);

    private Tensor IsPadding(Tensor index) => F.Eq(index, F.Scalar(PaddingIdx!.Value, index.DType));
}

public static partial class F
{
    /// <summary>Rows of <paramref name="weight"/> [rows, columns] by the indices <paramref name="input"/> of any shape.</summary>
    /// <exception cref="ShapeException">The weight is no matrix, the indices are no integers, or padding_idx is not a row.</exception>
    public static Tensor Embedding(Tensor input, Tensor weight, int? paddingIdx = null)
    {
        if (paddingIdx < 0 && weight.Rank > 0) paddingIdx += weight.Shape[0];
        return new EmbeddingOp(paddingIdx).Apply(weight, input).Outputs[0];
    }
}
