namespace GpuEngine.Core.Graph;

/// <summary>relu6(x + 3) / 6; the derivative is 1/6 inside (-3, 3), 0 elsewhere.</summary>
public sealed record Hardsigmoid : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Hardsigmoid(), "relu6(x + 3) / 6");

    public override string Name => "hardsigmoid";

    public override Tensor Define(Tensor x) => Ramp(x) / 6;

    public override Tensor Derivative(Tensor x)
    {
        var inside = F.And(F.Gt(x, F.Scalar(-3, x.DType)), F.Lt(x, F.Scalar(3, x.DType)));
        return F.Cast(inside, x.DType) * (1.0 / 6);
    }

    /// <summary>relu6(x + 3).</summary>
    internal static Tensor Ramp(Tensor x) => F.Minimum(F.Maximum(x + 3, F.Scalar(0, x.DType)), F.Scalar(6, x.DType));
}

/// <summary>x relu6(x + 3) / 6 (Howard et al. 2019); the derivative is 0 below -3, 1 from 3 on and x/3 + 1/2 between.</summary>
public sealed record Hardswish : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Hardswish(), "x * relu6(x + 3) / 6");

    public override string Name => "hardswish";

    public override Tensor Define(Tensor x) => x * Hardsigmoid.Ramp(x) / 6;

    public override Tensor Derivative(Tensor x)
    {
        var (zero, one) = (F.Scalar(0, x.DType), F.Scalar(1, x.DType));
        var above = F.Where(F.Lt(x, F.Scalar(3, x.DType)), x / 3 + 0.5, one);
        return F.Where(F.Lt(x, F.Scalar(-3, x.DType)), zero, above);
    }
}

public static partial class F
{
    public static Tensor Hardsigmoid(Tensor input) => new Hardsigmoid().On(input);

    public static Tensor Hardswish(Tensor input) => new Hardswish().On(input);
}
