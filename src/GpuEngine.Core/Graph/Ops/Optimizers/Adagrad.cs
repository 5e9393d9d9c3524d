namespace GpuEngine.Core.Graph;

/// <summary>
/// AdaGrad (Duchi, Hazan and Singer 2011) as torch.optim.Adagrad: sum += g^2, param -= lr/(1 + step lr_decay) g/(sqrt(sum) + eps),
/// where step counts the steps done before. EpsInside is lecture S3's g/sqrt(sum + eps) (E10). State: sum, which starts at
/// initial_accumulator_value.
/// </summary>
public sealed record AdagradOp(
    double LrDecay = 0, double WeightDecay = 0, double Eps = 1e-10, bool EpsInside = false, bool Maximize = false, bool Clip = false)
    : OptimizerOp(Maximize, Clip)
{
    internal static readonly OpSpec Spec = OptimizerCatalog.Entry(
        "adagrad", "AdaGrad, torch.optim.Adagrad", 1e-2, [Sum],
        [
            new("lr_decay", 0.0, "the rate is divided by 1 + step lr_decay"),
            OptimizerCatalog.WeightDecay,
            new("initial_accumulator_value", 0.0, "value of sum before the first step"),
            new("eps", 1e-10, "added to the root of the sum"),
            OptimizerCatalog.Maximize,
            OptimizerCatalog.L2Penalty,
            OptimizerCatalog.EpsInside,
        ],
        call => new AdagradOp(
            call.Number("lr_decay"), call.Number("weight_decay") + 2 * call.Number("l2_penalty"), call.Number("eps"),
            call.Flag("eps_inside"), call.Flag("maximize")),
        initial: call => call.Number("initial_accumulator_value"),
        samples:
        [
            OptimizerCatalog.Sample([7], [], false, ("initial_accumulator_value", 0.5)),
            OptimizerCatalog.Sample([3, 67], [Sum], true, ("step", 4), ("lr_decay", 0.1), ("weight_decay", 0.1), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Sum], false, ("step", 4), ("eps_inside", true), ("eps", 0.1), ("maximize", true)),
        ]);

    private const string Sum = "sum";

    public override string Name => "adagrad";

    public override IReadOnlyList<string> StateNames => [Sum];

    protected override int FlopsPerElement => 8;

    public override OptimizerOp WithoutWeightDecay() => this with { WeightDecay = 0 };

    public override void Check()
    {
        AtLeastZero("lr_decay", LrDecay);
        AtLeastZero("weight_decay", WeightDecay);
        AtLeastZero("eps", Eps);
    }

    protected override (Tensor Param, Tensor[] State) Update(Tensor param, Tensor grad, Tensor[] state, Tensor lr, Tensor step)
    {
        var g = AddDecay(grad, param, WeightDecay);
        var sum = state[0] + g * g;
        var root = EpsInside ? F.Sqrt(sum + Eps) : F.Sqrt(sum) + Eps;
        return (param - g * F.Cast(lr / (step * LrDecay + 1), param.DType) / root, [sum]);
    }
}
