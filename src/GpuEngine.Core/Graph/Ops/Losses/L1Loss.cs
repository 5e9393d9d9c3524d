namespace GpuEngine.Core.Graph;

/// <summary>|x - target|, with derivative 0 where they are equal.</summary>
public sealed record L1Loss(Reduction Reduction = Reduction.Mean) : PointwiseLoss(Reduction)
{
    internal static readonly OpSpec Spec = Entry("l1_loss", "absolute difference", [], call => new L1Loss(Reductions.Read(call)));

    public override string Name => "l1_loss";

    public override Tensor Define(Tensor x, Tensor target) => F.Abs(x - target);

    public override Tensor Derivative(Tensor x, Tensor target) => F.Sign(x - target);
}

public static partial class F
{
    public static Tensor L1Loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean) => Loss(new L1Loss(reduction), input, target);
}
