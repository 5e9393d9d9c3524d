namespace GpuEngine.Core.Graph;

public enum UnaryKind
{
    Neg, Abs, Sign, Exp, Expm1, Log, Log1p, Sqrt, Rsqrt, Reciprocal, Sin, Cos, Tanh, Sigmoid, Erf, Floor, Not, IsFinite,
}

public enum BinaryKind
{
    Add, Sub, Mul, Div, Max, Min, Pow, And, Or,
}

public enum CompareKind
{
    Lt, Le, Gt, Ge, Eq, Ne,
}

/// <summary>An op that computes each output element from the elements at the same (broadcast) place of its inputs.</summary>
public abstract record ElementwiseOp : Primitive
{
    public override int InPlaceInput(int output) => 0;
}

/// <summary>y = f(x), element by element. <c>Not</c> maps bool to bool, <c>IsFinite</c> float to bool.</summary>
public sealed record UnaryOp(UnaryKind Kind) : ElementwiseOp
{
    public override string Name => Kind.ToString().ToLowerInvariant();

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (Kind == UnaryKind.Not)
            return x.DType == DType.Bool ? [x] : throw Mismatch(Name, "a bool tensor", inputs);
        if (Kind == UnaryKind.IsFinite)
            return x.DType.IsFloat() ? [x with { DType = DType.Bool }] : throw Mismatch(Name, "a float tensor", inputs);
        if (x.DType.IsFloat()) return [x];
        var worksOnIntegers = Kind is UnaryKind.Neg or UnaryKind.Abs or UnaryKind.Sign;
        return worksOnIntegers && x.DType.IsInteger() ? [x] : throw Mismatch(Name, "a float tensor", inputs);
    }

    public override int InPlaceInput(int output) => Kind == UnaryKind.IsFinite ? -1 : 0;

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null];
        var x = node.Inputs[0];
        var y = node.Outputs[0];
        return Kind switch
        {
            UnaryKind.Neg => [-g],
            UnaryKind.Abs => [g * F.Sign(x)],
            UnaryKind.Sign or UnaryKind.Floor or UnaryKind.Not or UnaryKind.IsFinite => [null],
            UnaryKind.Exp => [g * y],
            UnaryKind.Expm1 => [g * (y + 1)],
            UnaryKind.Log => [g / x],
            UnaryKind.Log1p => [g / (x + 1)],
            UnaryKind.Sqrt => [g * 0.5 / y],
            UnaryKind.Rsqrt => [g * -0.5 * (y * y * y)],
            UnaryKind.Reciprocal => [-(g * (y * y))],
            UnaryKind.Sin => [g * F.Cos(x)],
            UnaryKind.Cos => [-(g * F.Sin(x))],
            UnaryKind.Tanh => [g * (1 - y * y)],
            UnaryKind.Sigmoid => [g * (y * (1 - y))],
            UnaryKind.Erf => [g * (2 / Math.Sqrt(Math.PI)) * F.Exp(-(x * x))],
            _ => throw new InvalidOperationException($"No derivative for {Kind}."),
        };
    }
}

/// <summary>y = f(a, b) with broadcasting; both inputs share a dtype.</summary>
public sealed record BinaryOp(BinaryKind Kind) : ElementwiseOp
{
    public override string Name => Kind.ToString().ToLowerInvariant();

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (a, b) = (inputs[0], inputs[1]);
        var logical = Kind is BinaryKind.And or BinaryKind.Or;
        if (a.DType != b.DType || (a.DType == DType.Bool) != logical)
            throw Mismatch(Name, logical ? "two bool tensors" : "two numeric tensors of one dtype", inputs);
        return [new TensorType(a.DType, Shape.Broadcast(a.Shape, b.Shape, Name))];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (a, b, y) = (node.Inputs[0], node.Inputs[1], node.Outputs[0]);
        Tensor?[] full = Kind switch
        {
            BinaryKind.Add => [g, g],
            BinaryKind.Sub => [g, -g],
            BinaryKind.Mul => [g * b, g * a],
            BinaryKind.Div => [g / b, -(g * (y / b))],
            BinaryKind.Max => [g * Share(a, b, CompareKind.Gt), g * Share(b, a, CompareKind.Gt)],
            BinaryKind.Min => [g * Share(a, b, CompareKind.Lt), g * Share(b, a, CompareKind.Lt)],
            BinaryKind.Pow => [g * (b * F.Pow(a, b - 1)), g * F.Where(F.Gt(a, F.Scalar(0, a.DType)), y * F.Log(a), F.Scalar(0, a.DType))],
            _ => [null, null],
        };
        return [full[0] is { } ga ? F.SumTo(ga, a.Shape) : null, full[1] is { } gb ? F.SumTo(gb, b.Shape) : null];
    }

    /// <summary>1 where <paramref name="a"/> wins, 1/2 at ties (torch's rule), 0 elsewhere.</summary>
    private static Tensor Share(Tensor a, Tensor b, CompareKind wins)
    {
        var (one, half, zero) = (F.Scalar(1, a.DType), F.Scalar(0.5, a.DType), F.Scalar(0, a.DType));
        return F.Where(F.Compare(wins, a, b), one, F.Where(F.Eq(a, b), half, zero));
    }
}

/// <summary>A comparison, to bool, with broadcasting.</summary>
public sealed record CompareOp(CompareKind Kind) : ElementwiseOp
{
    public override string Name => Kind.ToString().ToLowerInvariant();

    public override int InPlaceInput(int output) => -1;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs[0].DType == inputs[1].DType
        ? [new TensorType(DType.Bool, Shape.Broadcast(inputs[0].Shape, inputs[1].Shape, Name))]
        : throw Mismatch(Name, "two tensors of one dtype", inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [null, null];
}

/// <summary>where(condition, a, b), with broadcasting.</summary>
public sealed record WhereOp : ElementwiseOp
{
    public override string Name => "where";

    public override int InPlaceInput(int output) => 1;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (c, a, b) = (inputs[0], inputs[1], inputs[2]);
        if (c.DType != DType.Bool || a.DType != b.DType)
            throw Mismatch(Name, "a bool condition and two tensors of one dtype", inputs);
        var shape = Shape.Broadcast(Shape.Broadcast(a.Shape, b.Shape, Name), c.Shape, Name);
        return [new TensorType(a.DType, shape)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null, null];
        var (c, a, b) = (node.Inputs[0], node.Inputs[1], node.Inputs[2]);
        var zero = F.Scalar(0, g.DType);
        return [null, F.SumTo(F.Where(c, g, zero), a.Shape), F.SumTo(F.Where(c, zero, g), b.Shape)];
    }
}

/// <summary>
/// Conversion. Float to integer truncates toward zero; float to a narrower float rounds to nearest even; to bool is
/// "not zero". The gradient passes between float types and stops elsewhere.
/// </summary>
public sealed record CastOp(DType To) : ElementwiseOp
{
    public override string Name => "cast";

    public override int InPlaceInput(int output) => -1;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [inputs[0] with { DType = To }];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        outputGradients[0] is { } g && node.Inputs[0].DType.IsFloat() && To.IsFloat() ? [F.Cast(g, node.Inputs[0].DType)] : [null];
}
