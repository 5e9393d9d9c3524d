namespace GpuEngine.Core.Graph;

/// <summary>The hyperbolic tangent; derivative 1 - y^2.</summary>
public sealed record Tanh : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Tanh(), "hyperbolic tangent");

    public override string Name => "tanh";

    public override Tensor Define(Tensor x) => F.Unary(UnaryKind.Tanh, x);

    public override Tensor Derivative(Tensor x)
    {
        var y = F.Unary(UnaryKind.Tanh, x);
        return 1 - y * y;
    }
}

public static partial class F
{
    public static Tensor Tanh(Tensor input) => new Tanh().On(input);
}
