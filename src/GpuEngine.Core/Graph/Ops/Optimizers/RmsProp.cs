namespace GpuEngine.Core.Graph;

/// <summary>
/// RMSProp (Tieleman and Hinton 2012; centered: Graves 2013) as torch.optim.RMSprop: square_avg = alpha square_avg + (1 - alpha) g^2,
/// param -= lr g/(sqrt(square_avg) + eps); centered subtracts the squared mean gradient under the root; with momentum the
/// quotient is gathered in a buffer. EpsInside is lecture S3's g/sqrt(square_avg + eps) (E10). State: square_avg, then grad_avg
/// if Centered, then momentum_buffer if Momentum is not 0.
/// </summary>
public sealed record RmsPropOp(
    double Alpha = 0.99, double Eps = 1e-8, double WeightDecay = 0, double Momentum = 0, bool Centered = false,
    bool EpsInside = false, bool Maximize = false, bool Clip = false) : OptimizerOp(Maximize, Clip)
{
    internal static readonly OpSpec Spec = OptimizerCatalog.Entry(
        "rmsprop", "RMSProp, torch.optim.RMSprop", 1e-2, [Square, Mean, Buffer],
        [
            new("alpha", 0.99, "decay rate of the second moment"),
            new("eps", 1e-8, "added to the root of the second moment"),
            OptimizerCatalog.WeightDecay,
            new("momentum", 0.0, "momentum factor"),
            new("centered", false, "divide by the standard deviation instead of the root mean square"),
            OptimizerCatalog.Maximize,
            OptimizerCatalog.L2Penalty,
            OptimizerCatalog.EpsInside,
        ],
        call => new RmsPropOp(
            call.Number("alpha"), call.Number("eps"), call.Number("weight_decay") + 2 * call.Number("l2_penalty"), call.Number("momentum"),
            call.Flag("centered"), call.Flag("eps_inside"), call.Flag("maximize")),
        samples:
        [
            OptimizerCatalog.Sample([7], []),
            OptimizerCatalog.Sample([3, 67], [Square], true, ("weight_decay", 0.1), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Square, Mean], false, ("centered", true), ("maximize", true), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Square, Buffer], false, ("momentum", 0.9), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Square, Mean, Buffer], false, ("momentum", 0.9), ("centered", true), ("eps_inside", true), ("eps", 0.1)),
        ]);

    private const string Square = "square_avg";
    private const string Mean = "grad_avg";
    private const string Buffer = "momentum_buffer";

    public override string Name => "rmsprop";

    public override IReadOnlyList<string> StateNames =>
        [Square, .. Centered ? new[] { Mean } : [], .. Momentum != 0 ? new[] { Buffer } : []];

    protected override int FlopsPerElement => 9 + (Centered ? 5 : 0) + (Momentum != 0 ? 2 : 0);

    public override OptimizerOp WithoutWeightDecay() => this with { WeightDecay = 0 };

    public override void Check()
    {
        AtLeastZero("alpha", Alpha);
        AtLeastZero("eps", Eps);
        AtLeastZero("weight_decay", WeightDecay);
        AtLeastZero("momentum", Momentum);
    }

    protected override (Tensor Param, Tensor[] State) Update(Tensor param, Tensor grad, Tensor[] state, Tensor lr, Tensor step)
    {
        var g = AddDecay(grad, param, WeightDecay);
        var square = state[0] * Alpha + g * (1 - Alpha) * g;
        List<Tensor> updated = [square];
        var variance = square;
        if (Centered)
        {
            var mean = state[1] * Alpha + g * (1 - Alpha);
            updated.Add(mean);
            variance = square - mean * mean;
        }

        var root = EpsInside ? F.Sqrt(variance + Eps) : F.Sqrt(variance) + Eps;
        var rate = F.Cast(lr, param.DType);
        if (Momentum == 0) return (param - g * rate / root, [.. updated]);
        var buffer = state[^1] * Momentum + g / root;
        return (param - buffer * rate, [.. updated, buffer]);
    }
}
