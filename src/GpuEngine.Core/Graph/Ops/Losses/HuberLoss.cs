namespace GpuEngine.Core.Graph;

/// <summary>
/// scale (d^2 / 2) for |d| &lt; delta, else scale delta (|d| - delta / 2), d = x - target (Huber 1964). torch's huber_loss has scale 1;
/// its smooth_l1_loss is scale = 1 / beta with delta = beta.
/// </summary>
public sealed record HuberLoss(Reduction Reduction = Reduction.Mean, double Delta = 1, double Scale = 1) : PointwiseLoss(Reduction)
{
    internal static readonly OpSpec Spec = Entry(
        "huber_loss", "quadratic near 0, linear beyond delta",
        [new("delta", 1.0, "where the linear part begins; positive")],
        call => Huber(Reductions.Read(call), call.Number("delta")));

    internal static readonly OpSpec SmoothL1Spec = Entry(
        "smooth_l1_loss", "huber_loss over beta: slope 1 beyond beta",
        [new("beta", 1.0, "where the linear part begins; 0 gives l1_loss")],
        call => SmoothL1(Reductions.Read(call), call.Number("beta")));

    public override string Name => "huber_loss";

    /// <exception cref="UserException"><paramref name="delta"/> is not positive.</exception>
    public static HuberLoss Huber(Reduction reduction, double delta) => delta > 0
        ? new HuberLoss(reduction, delta)
        : throw new UserException($"huber_loss: delta must be positive, but is {delta}.");

    /// <exception cref="UserException"><paramref name="beta"/> is negative.</exception>
    public static PointwiseLoss SmoothL1(Reduction reduction, double beta) => beta switch
    {
        0 => new L1Loss(reduction),
        > 0 => new HuberLoss(reduction, beta, 1 / beta),
        _ => throw new UserException($"smooth_l1_loss: beta must not be negative, but is {beta}."),
    };

    public override Tensor Define(Tensor x, Tensor target)
    {
        var d = x - target;
        var size = F.Abs(d);
        return F.Where(F.Lt(size, F.Scalar(Delta, x.DType)), d * d * (0.5 * Scale), (size - 0.5 * Delta) * (Delta * Scale));
    }

    public override Tensor Derivative(Tensor x, Tensor target)
    {
        var delta = F.Scalar(Delta, x.DType);
        return F.Minimum(F.Maximum(x - target, -delta), delta) * Scale;
    }
}

public static partial class F
{
    /// <exception cref="UserException"><paramref name="delta"/> is not positive.</exception>
    public static Tensor HuberLoss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean, double delta = 1) =>
        Loss(Graph.HuberLoss.Huber(reduction, delta), input, target);

    /// <exception cref="UserException"><paramref name="beta"/> is negative.</exception>
    public static Tensor SmoothL1Loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean, double beta = 1) =>
        Loss(Graph.HuberLoss.SmoothL1(reduction, beta), input, target);
}
