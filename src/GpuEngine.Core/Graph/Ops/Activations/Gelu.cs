namespace GpuEngine.Core.Graph;

/// <summary>
/// x Phi(x), Phi being the normal distribution function (Hendrycks and Gimpel 2016), exact through erf, or with
/// <paramref name="TanhForm"/> the approximation x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) of the same paper.
/// </summary>
public sealed record Gelu(bool TanhForm = false) : Activation
{
    private const double Cubic = 0.044715;

    internal static readonly OpSpec Spec = OpSpec.Of(
        "gelu", "x times the normal distribution function",
        [new("approximate", "none", "none: through erf; tanh: the tanh approximation")],
        call => new Gelu(call.Choice("approximate", ("none", false), ("tanh", true)))) with
    {
        Samples =
        [
            new() { ["input"] = Sample.Normal(3, 37) },
            new() { ["input"] = Sample.Uniform(-8, 8, 2, 3, 4, 5) },
            new() { ["input"] = Sample.Uniform(-8, 8, 2, 3, 4, 5), Attributes = { ["approximate"] = "tanh" } },
        ],
    };

    private static readonly double TwiceRootTwoOverPi = 2 * Math.Sqrt(2 / Math.PI);

    public override string Name => "gelu";

    public override Tensor Define(Tensor x) => TanhForm
        ? x * F.Unary(UnaryKind.Sigmoid, Inner(Clamp(x)))
        : x * Distribution(x);

    public override Tensor Derivative(Tensor x)
    {
        if (!TanhForm) return Distribution(x) + x * F.Exp(x * x * -0.5) * (1 / Math.Sqrt(2 * Math.PI));
        var c = Clamp(x);
        var s = F.Unary(UnaryKind.Sigmoid, Inner(c));
        return s + c * s * F.Unary(UnaryKind.Sigmoid, -Inner(c)) * (TwiceRootTwoOverPi + 3 * Cubic * TwiceRootTwoOverPi * (c * c));
    }

    private static Tensor Distribution(Tensor x) => 0.5 * (1 + F.Erf(x * Math.Sqrt(0.5)));

    /// <summary>Twice the argument of the tanh: (1 + tanh(u)) / 2 is sigmoid(2u), which keeps the lower tail.</summary>
    private static Tensor Inner(Tensor x) => (x + Cubic * (x * x * x)) * TwiceRootTwoOverPi;

    /// <summary>At 10 the sigmoid of the exponent is 1 or below 1e-38: beyond, nothing changes but the cube, which could overflow.</summary>
    private static Tensor Clamp(Tensor x) => F.Maximum(F.Minimum(x, F.Scalar(10, x.DType)), F.Scalar(-10, x.DType));
}

public static partial class F
{
    /// <param name="input">Any shape.</param>
    /// <param name="tanhForm">torch's approximate='tanh'.</param>
    public static Tensor Gelu(Tensor input, bool tanhForm = false) => new Gelu(tanhForm).On(input);
}
