namespace GpuEngine.Core.Graph;

/// <summary>The elements [Start, End) of an axis that one window covers, and its extent with the padding that it covers.</summary>
public readonly record struct PoolWindow(int Start, int End, int PaddedExtent)
{
    public int Extent => Math.Max(0, End - Start);
}

/// <summary>
/// Means over windows of the two last axes of [N, C, H, W]. A window is a range of rows times a range of columns, so the sums are
/// two products with matrices of zeros and ones; that is the decomposition.
/// </summary>
public abstract record AveragingOp : FusedOp
{
    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (x.Shape.Rank != 4 || !x.DType.IsFloat()) throw Mismatch(Name, "a float tensor [N, C, H, W] or [C, H, W]", inputs);
        Check(x.Shape);
        return [x with { Shape = [x.Shape[0], x.Shape[1], Windows(0, x.Shape[2]).Length, Windows(1, x.Shape[3]).Length] }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var x = inputs[0];
        var (high, wide) = (Windows(0, x.Shape[2]), Windows(1, x.Shape[3]));
        var sums = Along(Along(x, Membership(wide, x.Shape[3], x.DType), 3, false), Membership(high, x.Shape[2], x.DType), 2, false);
        return [sums / Divisors(high, wide, x.DType)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new AveragingBackwardOp(this, node.Inputs[0].Shape).Apply(g).Outputs[0] : null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);

    /// <summary>The windows along height (axis 0) or width (axis 1) of an input of the given extent.</summary>
    public abstract PoolWindow[] Windows(int axis, int input);

    /// <summary>What the sum over a window is divided by.</summary>
    internal abstract double Divisor(PoolWindow high, PoolWindow wide);

    /// <exception cref="ShapeException">The op does not fit the input.</exception>
    protected abstract void Check(Shape input);

    /// <summary>The gradient by the same products, transposed.</summary>
    internal Tensor DecomposeBackward(Tensor g, Shape input)
    {
        var (high, wide) = (Windows(0, input[2]), Windows(1, input[3]));
        g /= Divisors(high, wide, g.DType);
        return Along(Along(g, Membership(wide, input[3], g.DType), 3, true), Membership(high, input[2], g.DType), 2, true);
    }

    /// <summary>x times M^T (or M) along an axis, M [windows, input].</summary>
    private static Tensor Along(Tensor x, Tensor matrix, int axis, bool back)
    {
        Ints order = axis == 3 ? [0, 1, 2, 3] : [0, 1, 3, 2];
        var last = F.Permute(x, order);
        var rows = F.MatMul(F.Reshape(last, [(int)last.Shape.Product(0, 3), last.Shape[3]]), matrix, transposeB: !back);
        return F.Permute(F.Reshape(rows, last.Shape.With(3, rows.Shape[1])), order);
    }

    /// <summary>M[i, j] = 1 where window i holds element j.</summary>
    private static Tensor Membership(PoolWindow[] windows, int input, DType dtype)
    {
        var values = new double[windows.Length * input];
        for (var i = 0; i < windows.Length; i++)
        {
            for (var j = windows[i].Start; j < windows[i].End; j++) values[i * input + j] = 1;
        }

        return F.Literal([windows.Length, input], dtype, values);
    }

    private Tensor Divisors(PoolWindow[] high, PoolWindow[] wide, DType dtype) =>
        F.Literal([high.Length, wide.Length], dtype, [.. high.SelectMany(h => wide.Select(w => SafeDivisor(h, w)))]);

    /// <summary>What the sum over a window is divided by; 1 where it lies wholly in the padding and sums to 0.</summary>
    public double SafeDivisor(PoolWindow high, PoolWindow wide) => high.Extent * wide.Extent == 0 ? 1 : Divisor(high, wide);
}

/// <summary>The gradient of an <see cref="AveragingOp"/>: each window's gradient, divided, is added to all its elements.</summary>
public sealed record AveragingBackwardOp(AveragingOp Of, Shape InputShape) : FusedOp
{
    public override string Name => Of.Name + "_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var expected = Of.Infer([inputs[0] with { Shape = InputShape }])[0];
        return inputs[0] == expected ? [inputs[0] with { Shape = InputShape }] : throw Mismatch(Name, $"a gradient {expected}", inputs);
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) => [Of.DecomposeBackward(inputs[0], InputShape)];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? Of.Apply(g).Outputs[0] : null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Outputs[0].Type.Elements);
}
