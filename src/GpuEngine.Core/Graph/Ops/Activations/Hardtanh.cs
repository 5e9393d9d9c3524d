namespace GpuEngine.Core.Graph;

/// <summary>x cut to [min, max]; the derivative at both ends is 0. relu6 is hardtanh between 0 and 6, as in torch.</summary>
public sealed record Hardtanh : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(
        "hardtanh", "x cut to [min_val, max_val]",
        [new("min_val", -1.0, "lower end"), new("max_val", 1.0, "upper end, above min_val")],
        call => new Hardtanh(call.Number("min_val"), call.Number("max_val")));

    internal static readonly OpSpec Relu6Spec = OpSpec.Of("relu6", "x cut to [0, 6]", [], _ => Relu6());

    /// <exception cref="UserException">The ends are not in order.</exception>
    public Hardtanh(double minVal = -1, double maxVal = 1)
    {
        if (!(minVal < maxVal)) throw new UserException($"hardtanh: min_val {minVal} must be below max_val {maxVal}.");
        (MinVal, MaxVal) = (minVal, maxVal);
    }

    public double MinVal { get; }

    public double MaxVal { get; }

    public override string Name => "hardtanh";

    public static Hardtanh Relu6() => new(0, 6);

    public override Tensor Define(Tensor x) => F.Minimum(F.Maximum(x, F.Scalar(MinVal, x.DType)), F.Scalar(MaxVal, x.DType));

    public override Tensor Derivative(Tensor x)
    {
        var inside = F.And(F.Gt(x, F.Scalar(MinVal, x.DType)), F.Lt(x, F.Scalar(MaxVal, x.DType)));
        return F.Cast(inside, x.DType);
    }
}

public static partial class F
{
    public static Tensor Hardtanh(Tensor input, double minVal = -1, double maxVal = 1) => new Hardtanh(minVal, maxVal).On(input);

    public static Tensor Relu6(Tensor input) => Graph.Hardtanh.Relu6().On(input);
}
