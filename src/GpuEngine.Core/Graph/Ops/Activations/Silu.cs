namespace GpuEngine.Core.Graph;

/// <summary>x sigmoid(x), also called swish (Elfwing, Uchibe and Doya 2018; Ramachandran, Zoph and Le 2017).</summary>
public sealed record Silu : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Silu(), "x * sigmoid(x)");

    public override string Name => "silu";

    public override Tensor Define(Tensor x) => x * F.Unary(UnaryKind.Sigmoid, x);

    public override Tensor Derivative(Tensor x) => F.Unary(UnaryKind.Sigmoid, x) * (1 + x * F.Unary(UnaryKind.Sigmoid, -x));
}

public static partial class F
{
    public static Tensor Silu(Tensor input) => new Silu().On(input);
}
