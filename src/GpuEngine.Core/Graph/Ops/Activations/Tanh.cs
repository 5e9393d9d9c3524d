namespace GpuEngine.Core.Graph;

/// <summary>The hyperbolic tangent; derivative 1 - y^2, as 4 sigmoid(2x) sigmoid(-2x) so that nothing cancels.</summary>
public sealed record Tanh : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Tanh(), "hyperbolic tangent");

    public override string Name => "tanh";

    public override Tensor Define(Tensor x) => F.Unary(UnaryKind.Tanh, x);

    public override Tensor Derivative(Tensor x) => 4 * F.Unary(UnaryKind.Sigmoid, 2 * x) * F.Unary(UnaryKind.Sigmoid, -2 * x);
}

public static partial class F
{
    public static Tensor Tanh(Tensor input) => new Tanh().On(input);
}
