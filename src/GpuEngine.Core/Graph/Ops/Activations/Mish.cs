namespace GpuEngine.Core.Graph;

/// <summary>
/// x tanh(softplus(x)) (Misra 2019). With e = exp(-|x|) the tanh is n / d, n = 1 + 2e and d = n + 2e^2 for x > 0, n = 2e + e^2
/// and d = n + 2 for x &lt;= 0: nothing cancels and nothing overflows.
/// </summary>
public sealed record Mish : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Mish(), "x * tanh(softplus(x))");

    public override string Name => "mish";

    public override Tensor Define(Tensor x)
    {
        var (n, d, _, _) = Parts(x);
        return x * (n / d);
    }

    /// <summary>t + x (1 - t^2) sigmoid(x), the last two factors together being 4 e (1 + e) / d^2, for x > 0 once more times e.</summary>
    public override Tensor Derivative(Tensor x)
    {
        var (n, d, e, positive) = Parts(x);
        var slope = 4 * e * (1 + e) / (d * d);
        return n / d + x * F.Where(positive, slope * e, slope);
    }

    private static (Tensor Numerator, Tensor Denominator, Tensor Exponential, Tensor Positive) Parts(Tensor x)
    {
        var positive = F.Gt(x, F.Scalar(0, x.DType));
        // -|x|, with the derivative of the branch that is taken at 0 as well.
        var e = F.Exp(F.Where(positive, -x, x));
        var square = e * e;
        var n = 2 * e + F.Where(positive, F.Scalar(1, x.DType), square);
        return (n, n + F.Where(positive, 2 * square, F.Scalar(2, x.DType)), e, positive);
    }
}

public static partial class F
{
    public static Tensor Mish(Tensor input) => new Mish().On(input);
}
