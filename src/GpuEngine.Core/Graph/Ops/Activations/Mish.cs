namespace GpuEngine.Core.Graph;

/// <summary>x tanh(softplus(x)) (Misra 2019).</summary>
public sealed record Mish : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Mish(), "x * tanh(softplus(x))");

    public override string Name => "mish";

    public override Tensor Define(Tensor x) => x * F.Unary(UnaryKind.Tanh, Graph.Softplus.Stable(x));

    public override Tensor Derivative(Tensor x)
    {
        var t = F.Unary(UnaryKind.Tanh, Graph.Softplus.Stable(x));
        return t + x * (1 - t * t) * F.Unary(UnaryKind.Sigmoid, x);
    }
}

public static partial class F
{
    public static Tensor Mish(Tensor input) => new Mish().On(input);
}
