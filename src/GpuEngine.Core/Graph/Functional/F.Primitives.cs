namespace GpuEngine.Core.Graph;

/// <summary>
/// The functional interface: each method records one op and returns its value. Names and defaults are those of torch and
/// torch.nn.functional. This part holds the primitives; every fused op adds its own method beside its definition.
/// </summary>
public static partial class F
{
    public static Tensor Input(string name, DType dtype, Shape shape) => new InputOp(name, new TensorType(dtype, shape)).Apply().Outputs[0];

    public static Tensor Scalar(double value, DType dtype) => Full(Shape.Scalar, value, dtype);

    public static Tensor Full(Shape shape, double value, DType dtype) => new ConstantOp(value, new TensorType(dtype, shape)).Apply().Outputs[0];

    public static Tensor Zeros(Shape shape, DType dtype) => Full(shape, 0, dtype);

    public static Tensor Ones(Shape shape, DType dtype) => Full(shape, 1, dtype);

    public static Tensor Arange(int length, DType dtype) => new IotaOp(length, dtype).Apply().Outputs[0];

    public static Tensor Literal(Shape shape, DType dtype, params double[] values)
    {
        if (values.Length != shape.Elements) throw new ShapeException($"tensor: {values.Length} values for the shape {shape}.");
        return new LiteralOp(new TensorType(dtype, shape)) { Values = values }.Apply().Outputs[0];
    }

    public static Tensor Unary(UnaryKind kind, Tensor x) => new UnaryOp(kind).Apply(x).Outputs[0];

    public static Tensor Neg(Tensor x) => Unary(UnaryKind.Neg, x);

    public static Tensor Abs(Tensor x) => Unary(UnaryKind.Abs, x);

    public static Tensor Sign(Tensor x) => Unary(UnaryKind.Sign, x);

    public static Tensor Exp(Tensor x) => Unary(UnaryKind.Exp, x);

    public static Tensor Expm1(Tensor x) => Unary(UnaryKind.Expm1, x);

    public static Tensor Log(Tensor x) => Unary(UnaryKind.Log, x);

    public static Tensor Log1p(Tensor x) => Unary(UnaryKind.Log1p, x);

    public static Tensor Sqrt(Tensor x) => Unary(UnaryKind.Sqrt, x);

    public static Tensor Rsqrt(Tensor x) => Unary(UnaryKind.Rsqrt, x);

    public static Tensor Reciprocal(Tensor x) => Unary(UnaryKind.Reciprocal, x);

    public static Tensor Sin(Tensor x) => Unary(UnaryKind.Sin, x);

    public static Tensor Cos(Tensor x) => Unary(UnaryKind.Cos, x);

    public static Tensor Erf(Tensor x) => Unary(UnaryKind.Erf, x);

    public static Tensor Floor(Tensor x) => Unary(UnaryKind.Floor, x);

    public static Tensor Not(Tensor x) => Unary(UnaryKind.Not, x);

    public static Tensor IsFinite(Tensor x) => Unary(UnaryKind.IsFinite, x);

    public static Tensor Binary(BinaryKind kind, Tensor a, Tensor b) => new BinaryOp(kind).Apply(a, b).Outputs[0];

    public static Tensor Add(Tensor a, Tensor b) => Binary(BinaryKind.Add, a, b);

    public static Tensor Sub(Tensor a, Tensor b) => Binary(BinaryKind.Sub, a, b);

    public static Tensor Mul(Tensor a, Tensor b) => Binary(BinaryKind.Mul, a, b);

    public static Tensor Div(Tensor a, Tensor b) => Binary(BinaryKind.Div, a, b);

    public static Tensor Maximum(Tensor a, Tensor b) => Binary(BinaryKind.Max, a, b);

    public static Tensor Minimum(Tensor a, Tensor b) => Binary(BinaryKind.Min, a, b);

    public static Tensor Pow(Tensor a, Tensor b) => Binary(BinaryKind.Pow, a, b);

    public static Tensor And(Tensor a, Tensor b) => Binary(BinaryKind.And, a, b);

    public static Tensor Or(Tensor a, Tensor b) => Binary(BinaryKind.Or, a, b);

    public static Tensor Compare(CompareKind kind, Tensor a, Tensor b) => new CompareOp(kind).Apply(a, b).Outputs[0];

    public static Tensor Lt(Tensor a, Tensor b) => Compare(CompareKind.Lt, a, b);

    public static Tensor Le(Tensor a, Tensor b) => Compare(CompareKind.Le, a, b);

    public static Tensor Gt(Tensor a, Tensor b) => Compare(CompareKind.Gt, a, b);

    public static Tensor Ge(Tensor a, Tensor b) => Compare(CompareKind.Ge, a, b);

    public static Tensor Eq(Tensor a, Tensor b) => Compare(CompareKind.Eq, a, b);

    public static Tensor Ne(Tensor a, Tensor b) => Compare(CompareKind.Ne, a, b);

    public static Tensor Where(Tensor condition, Tensor a, Tensor b) => new WhereOp().Apply(condition, a, b).Outputs[0];

    public static Tensor Cast(Tensor x, DType to) => x.DType == to ? x : new CastOp(to).Apply(x).Outputs[0];

    public static Tensor Detach(Tensor x) => new DetachOp().Apply(x).Outputs[0];

    public static Tensor Reshape(Tensor x, Shape shape) => x.Shape == shape ? x : new ReshapeOp(shape).Apply(x).Outputs[0];

    public static Tensor Permute(Tensor x, Ints order) =>
        order == Ints.Range(0, x.Rank) ? x : new PermuteOp(order).Apply(x).Outputs[0];

    /// <summary>Swaps the two last axes.</summary>
    public static Tensor Transpose(Tensor x) =>
        Permute(x, [.. Enumerable.Range(0, x.Rank - 2), x.Rank - 1, x.Rank - 2]);

    public static Tensor BroadcastTo(Tensor x, Shape shape) => x.Shape == shape ? x : new BroadcastToOp(shape).Apply(x).Outputs[0];

    public static Tensor Slice(Tensor x, Ints starts, Ints sizes, Ints steps) =>
        sizes == x.Shape.ToInts() ? x : new SliceOp(starts, sizes, steps).Apply(x).Outputs[0];

    /// <summary>Elements [start, start + length) along one axis.</summary>
    public static Tensor Narrow(Tensor x, int axis, int start, int length)
    {
        var starts = new int[x.Rank];
        starts[axis] = start;
        return Slice(x, starts, x.Shape.With(axis, length).ToInts(), Ints.Repeat(1, x.Rank));
    }

    public static Tensor Pad(Tensor x, Ints low, Ints high, Ints? interior = null)
    {
        var between = interior ?? Ints.Repeat(0, x.Rank);
        return low.Concat(high).Concat(between).All(v => v == 0) ? x : new PadOp(low, high, between).Apply(x).Outputs[0];
    }

    public static Tensor Concat(IReadOnlyList<Tensor> tensors, int axis) =>
        tensors.Count == 1 ? tensors[0] : new ConcatOp(axis).Apply([.. tensors]).Outputs[0];

    /// <summary>Lays the tensors into one flat vector at the given element offsets.</summary>
    public static Tensor Pack(IReadOnlyList<Tensor> tensors, Ints offsets, int length) => new PackOp(offsets, length).Apply([.. tensors]).Outputs[0];

    /// <summary>Sum over the axes, which keep extent 1.</summary>
    public static Tensor Sum(Tensor x, Ints axes) => axes.Count == 0 ? x : new ReduceOp(ReduceKind.Sum, axes).Apply(x).Outputs[0];

    /// <summary>Sum of all elements, to a scalar.</summary>
    public static Tensor Sum(Tensor x) => Reshape(Sum(x, Ints.Range(0, x.Rank)), Shape.Scalar);

    /// <summary>Mean over the axes, which keep extent 1.</summary>
    public static Tensor Mean(Tensor x, Ints axes) => Sum(x, axes) * (1.0 / axes.Aggregate(1L, (n, a) => n * x.Shape[a]));

    /// <summary>Mean of all elements, to a scalar.</summary>
    public static Tensor Mean(Tensor x) => Sum(x) * (1.0 / x.Type.Elements);

    /// <summary>Maximum over the axes, which keep extent 1.</summary>
    public static Tensor Amax(Tensor x, Ints axes) => new ReduceOp(ReduceKind.Max, axes).Apply(x).Outputs[0];

    public static Tensor ArgMax(Tensor x) => new ArgMaxOp().Apply(x).Outputs[0];

    /// <summary>Undoes a broadcast: sums over the axes along which <paramref name="shape"/> was repeated.</summary>
    public static Tensor SumTo(Tensor x, Shape shape)
    {
        if (x.Shape == shape) return x;
        var lead = x.Rank - shape.Rank;
        var axes = new List<int>();
        for (var i = 0; i < x.Rank; i++)
        {
            if (i < lead || (shape[i - lead] == 1 && x.Shape[i] != 1)) axes.Add(i);
        }

        return Reshape(Sum(x, axes.ToArray()), shape);
    }

    public static Tensor MatMul(Tensor a, Tensor b, bool transposeA = false, bool transposeB = false) =>
        new MatMulOp(transposeA, transposeB).Apply(a, b).Outputs[0];

    public static Tensor Gather(Tensor x, Tensor index) => new GatherOp().Apply(x, index).Outputs[0];

    public static Tensor ScatterAdd(Tensor x, Tensor index, int length) => new ScatterAddOp(length).Apply(x, index).Outputs[0];

    public static Tensor GatherRows(Tensor table, Tensor index) => new GatherRowsOp().Apply(table, index).Outputs[0];

    public static Tensor ScatterRows(Tensor x, Tensor index, int rows) => new ScatterRowsOp(rows).Apply(x, index).Outputs[0];

    public static Tensor RandomUniform(Tensor generator, Shape shape, DType dtype, int stream) =>
        new RandomUniformOp(shape, dtype, stream).Apply(generator).Outputs[0];

    public static Tensor Convolution(Tensor x, Tensor w, ConvGeometry geometry) => new ConvolutionOp(geometry).Apply(x, w).Outputs[0];

    public static Tensor ConvolutionInput(Tensor dy, Tensor w, Shape input, ConvGeometry geometry) =>
        new ConvolutionInputOp(geometry, input).Apply(dy, w).Outputs[0];

    public static Tensor ConvolutionWeight(Tensor dy, Tensor x, Shape weight, ConvGeometry geometry) =>
        new ConvolutionWeightOp(geometry, weight).Apply(dy, x).Outputs[0];
}
