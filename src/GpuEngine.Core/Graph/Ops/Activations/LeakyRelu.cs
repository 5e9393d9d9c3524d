namespace GpuEngine.Core.Graph;

/// <summary>
/// x for x > 0, else slope x (Maas, Hannun and Ng 2013). The derivative at 0 is the slope, as in torch; with a slope above 1
/// this is not max(slope x, x). A slope that is learned is <see cref="PReluOp"/>.
/// </summary>
public sealed record LeakyRelu(double NegativeSlope = 0.01) : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(
        "leaky_relu", "x for x > 0, else negative_slope * x",
        [new("negative_slope", 0.01, "slope for x <= 0")],
        call => new LeakyRelu(call.Number("negative_slope")));

    public override string Name => "leaky_relu";

    public override bool SlopeFromOutput => NegativeSlope >= 0;

    public override Tensor Define(Tensor x) => F.Where(F.Gt(x, F.Scalar(0, x.DType)), x, x * NegativeSlope);

    public override Tensor Derivative(Tensor x) =>
        F.Where(F.Gt(x, F.Scalar(0, x.DType)), F.Scalar(1, x.DType), F.Scalar(NegativeSlope, x.DType));
}

public static partial class F
{
    public static Tensor LeakyRelu(Tensor input, double negativeSlope = 0.01) => new LeakyRelu(negativeSlope).On(input);
}
