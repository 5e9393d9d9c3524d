namespace GpuEngine.Core.Graph;

/// <summary>max(x, 0), with derivative 0 at 0 (Glorot, Bordes and Bengio 2011). NaN stays NaN and, as in torch, passes the gradient.</summary>
public sealed record Relu : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Relu(), "max(x, 0)");

    public override string Name => "relu";

    public override bool SlopeFromOutput => true;

    public override Tensor Define(Tensor x) => F.Maximum(x, F.Scalar(0, x.DType));

    public override Tensor Derivative(Tensor x) => F.Cast(F.Not(F.Le(x, F.Scalar(0, x.DType))), x.DType);
}

public static partial class F
{
    public static Tensor Relu(Tensor input) => new Relu().On(input);
}
