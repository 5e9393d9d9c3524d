namespace GpuEngine.Core.Graph;

/// <summary>
/// scale x for x > 0, else scale alpha (exp(input_scale x) - 1): torch's general form of elu (Clevert, Unterthiner and
/// Hochreiter 2016), selu (Klambauer et al. 2017) and celu (Barron 2017). The derivative at 0 is that of the exponential side.
/// </summary>
public sealed record Elu(double Alpha = 1, double Scale = 1, double InputScale = 1) : Activation
{
    /// <summary>The fixed point (mean 0, variance 1) of Klambauer et al. 2017, equation 14.</summary>
    public const double SeluAlpha = 1.6732632423543772848170429916717;

    /// <inheritdoc cref="SeluAlpha"/>
    public const double SeluScale = 1.0507009873554804934193349852946;

    internal static readonly OpSpec Spec = OpSpec.Of(
        "elu", "x for x > 0, else alpha * (exp(x) - 1)",
        [new("alpha", 1.0, "the limit at minus infinity is -alpha")],
        call => new Elu(call.Number("alpha")));

    internal static readonly OpSpec SeluSpec = OpSpec.Of("selu", "scaled elu that keeps mean 0 and variance 1", [], _ => Selu());

    internal static readonly OpSpec CeluSpec = OpSpec.Of(
        "celu", "x for x > 0, else alpha * (exp(x / alpha) - 1)",
        [new("alpha", 1.0, "the limit at minus infinity is -alpha; not 0")],
        call => Celu(call.Number("alpha")));

    public override string Name => "elu";

    public static Elu Selu() => new(SeluAlpha, SeluScale);

    /// <exception cref="UserException"><paramref name="alpha"/> is 0.</exception>
    public static Elu Celu(double alpha = 1) => alpha != 0
        ? new Elu(alpha, 1, 1 / alpha)
        : throw new UserException("celu: alpha is 0, but x is divided by it; give another value.");

    public override Tensor Define(Tensor x) =>
        F.Where(F.Gt(x, F.Scalar(0, x.DType)), x * Scale, F.Expm1(Negative(x)) * (Alpha * Scale));

    public override Tensor Derivative(Tensor x) =>
        F.Where(F.Gt(x, F.Scalar(0, x.DType)), F.Scalar(Scale, x.DType), F.Exp(Negative(x)) * (Alpha * Scale * InputScale));

    /// <summary>The exponent where it is used, and something harmless where it is not: its overflow would poison a gradient.</summary>
    private Tensor Negative(Tensor x) => F.Minimum(x, F.Scalar(0, x.DType)) * InputScale;
}

public static partial class F
{
    public static Tensor Elu(Tensor input, double alpha = 1) => new Elu(alpha).On(input);

    public static Tensor Selu(Tensor input) => Graph.Elu.Selu().On(input);

    public static Tensor Celu(Tensor input, double alpha = 1) => Graph.Elu.Celu(alpha).On(input);
}
