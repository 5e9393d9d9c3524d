namespace GpuEngine.Core.Graph;

/// <summary>(x - target)^2.</summary>
public sealed record MseLoss(Reduction Reduction = Reduction.Mean) : PointwiseLoss(Reduction)
{
    internal static readonly OpSpec Spec = Entry("mse_loss", "squared difference", [], call => new MseLoss(Reductions.Read(call)));

    public override string Name => "mse_loss";

    public override Tensor Define(Tensor x, Tensor target)
    {
        var d = x - target;
        return d * d;
    }

    public override Tensor Derivative(Tensor x, Tensor target) => 2 * (x - target);
}

public static partial class F
{
    public static Tensor MseLoss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean) => Loss(new MseLoss(reduction), input, target);
}
