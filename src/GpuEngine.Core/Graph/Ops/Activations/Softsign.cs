namespace GpuEngine.Core.Graph;

/// <summary>x / (1 + |x|) (Bergstra et al. 2009; studied by Glorot and Bengio 2010); derivative 1 / (1 + |x|)^2.</summary>
public sealed record Softsign : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Softsign(), "x / (1 + |x|)");

    public override string Name => "softsign";

    public override Tensor Define(Tensor x) => x / (1 + F.Abs(x));

    public override Tensor Derivative(Tensor x)
    {
        var r = 1 / (1 + F.Abs(x));
        return r * r;
    }
}

public static partial class F
{
    public static Tensor Softsign(Tensor input) => new Softsign().On(input);
}
