namespace GpuEngine.Core.Graph;

/// <summary>
/// log(1 + exp(beta x)) / beta (Dugas et al. 2001), and x itself where beta x exceeds the threshold, as in torch. Computed as
/// max(z, 0) + log1p(exp(-|z|)), which neither overflows nor loses small results.
/// </summary>
public sealed record Softplus(double Beta = 1, double Threshold = 20) : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(
        "softplus", "log(1 + exp(beta * x)) / beta",
        [new("beta", 1.0, "sharpness; not 0"), new("threshold", 20.0, "where beta * x exceeds it, y = x")],
        call => new Softplus(call.Number("beta"), call.Number("threshold")));

    public override string Name => "softplus";

    public override Tensor Define(Tensor x)
    {
        var z = x * Beta;
        return F.Where(Linear(z), x, Stable(z) * (1 / Beta));
    }

    public override Tensor Derivative(Tensor x)
    {
        var z = x * Beta;
        return F.Where(Linear(z), F.Scalar(1, x.DType), F.Unary(UnaryKind.Sigmoid, z));
    }

    /// <summary>max(z, 0) + log(1 + exp(-|z|)).</summary>
    internal static Tensor Stable(Tensor z) => F.Maximum(z, F.Scalar(0, z.DType)) + F.Log1p(F.Exp(-F.Abs(z)));

    private Tensor Linear(Tensor z) => F.Gt(z, F.Scalar(Threshold, z.DType));
}

public static partial class F
{
    public static Tensor Softplus(Tensor input, double beta = 1, double threshold = 20) => new Softplus(beta, threshold).On(input);
}
