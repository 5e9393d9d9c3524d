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

    private static readonly double RootTwoOverPi = Math.Sqrt(2 / Math.PI);

    public override string Name => "gelu";

    public override Tensor Define(Tensor x) => TanhForm
        ? x * 0.5 * (1 + F.Unary(UnaryKind.Tanh, Inner(Clamp(x))))
        : x * Distribution(x);

    public override Tensor Derivative(Tensor x)
    {
        if (!TanhForm) return Distribution(x) + x * F.Exp(x * x * -0.5) * (1 / Math.Sqrt(2 * Math.PI));
        var c = Clamp(x);
        var t = F.Unary(UnaryKind.Tanh, Inner(c));
        return 0.5 * (1 + t) + c * 0.5 * (1 - t * t) * (RootTwoOverPi + 3 * Cubic * RootTwoOverPi * (c * c));
    }

    private static Tensor Distribution(Tensor x) => 0.5 * (1 + F.Erf(x * Math.Sqrt(0.5)));

    private static Tensor Inner(Tensor x) => (x + Cubic * (x * x * x)) * RootTwoOverPi;

    /// <summary>At 10 the tanh is 1 to the last bit of f64; beyond, the cube would overflow before it changed anything.</summary>
    private static Tensor Clamp(Tensor x) => F.Maximum(F.Minimum(x, F.Scalar(10, x.DType)), F.Scalar(-10, x.DType));
}

public static partial class F
{
    /// <param name="input">Any shape.</param>
    /// <param name="tanhForm">torch's approximate='tanh'.</param>
    public static Tensor Gelu(Tensor input, bool tanhForm = false) => new Gelu(tanhForm).On(input);
}
