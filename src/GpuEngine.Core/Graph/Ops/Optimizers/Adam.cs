namespace GpuEngine.Core.Graph;

/// <summary>
/// Adam (Kingma and Ba 2015, algorithm 1) as torch.optim.Adam: m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
/// param -= lr/(1 - beta1^t) m / (sqrt(v)/sqrt(1 - beta2^t) + eps). AMSGrad takes the running maximum of v. Decoupled decay
/// (Loshchilov and Hutter 2019, torch.optim.AdamW) is param *= 1 - lr weight_decay instead of g += weight_decay param.
/// EpsInside is lecture S3's sqrt(v/(1 - beta2^t) + eps) (E10). StoreCorrected is lecture S3 as typed (E9): m and v are divided
/// by 1 - beta^t and stored so, and the next step starts from the quotients.
/// State: exp_avg, exp_avg_sq and, with Amsgrad, max_exp_avg_sq.
/// </summary>
public sealed record AdamOp(
    double Beta1 = 0.9, double Beta2 = 0.999, double Eps = 1e-8, double WeightDecay = 0, bool Amsgrad = false,
    bool Decoupled = false, bool EpsInside = false, bool StoreCorrected = false, bool Maximize = false, bool Clip = false)
    : OptimizerOp(Maximize, Clip)
{
    internal static readonly OpSpec Spec = Entry("adam", "Adam with an L2 penalty, torch.optim.Adam", 0, false);

    internal static readonly OpSpec DecoupledSpec = Entry("adamw", "Adam with decoupled weight decay, torch.optim.AdamW", 0.01, true);

    internal static readonly OpSpec LiteralSpec = OptimizerCatalog.Entry(
        "adam_literal", "lecture S3's Adam as typed: bias-corrected moments are stored, eps is under the root", 1e-3, [First, Second],
        [Betas, EpsAttribute],
        call => Read(call, new AdamOp(EpsInside: true, StoreCorrected: true)),
        samples:
        [
            OptimizerCatalog.Sample([67], []),
            OptimizerCatalog.Sample([67], [First, Second], false, ("step", 3), ("lr", 0.01)),
        ]);

    private const string First = "exp_avg";
    private const string Second = "exp_avg_sq";
    private const string Largest = "max_exp_avg_sq";

    private static OpAttribute Betas => new("betas", new[] { 0.9, 0.999 }, "decay rates of the two moments");

    private static OpAttribute EpsAttribute => new("eps", 1e-8, "added to the root of the second moment");

    public override string Name => StoreCorrected ? "adam_literal" : Decoupled ? "adamw" : "adam";

    public override IReadOnlyList<string> StateNames => Amsgrad ? [First, Second, Largest] : [First, Second];

    protected override int FlopsPerElement => 15;

    public override OptimizerOp WithoutWeightDecay() => this with { WeightDecay = 0 };

    public override void Check()
    {
        Fraction("betas[0]", Beta1);
        Fraction("betas[1]", Beta2);
        AtLeastZero("eps", Eps);
        AtLeastZero("weight_decay", WeightDecay);
    }

    protected override (Tensor Param, Tensor[] State) Update(Tensor param, Tensor grad, Tensor[] state, Tensor lr, Tensor step)
    {
        var t = step + 1;
        var (correction1, correction2) = (1 - F.Pow(F.Scalar(Beta1, DType.F64), t), 1 - F.Pow(F.Scalar(Beta2, DType.F64), t));
        Tensor Number(Tensor scalar) => F.Cast(scalar, param.DType);

        var (p, g) = Decoupled ? (param * Number(1 - lr * WeightDecay), grad) : (param, AddDecay(grad, param, WeightDecay));
        var m = state[0] * Beta1 + g * (1 - Beta1);
        var v = state[1] * Beta2 + g * (1 - Beta2) * g;
        if (StoreCorrected)
        {
            (m, v) = (m / Number(correction1), v / Number(correction2));
            return (p - m * Number(lr) / F.Sqrt(v + Eps), [m, v]);
        }

        var largest = Amsgrad ? F.Maximum(state[2], v) : v;
        var denominator = EpsInside
            ? F.Sqrt(largest / Number(correction2) + Eps)
            : F.Sqrt(largest) / Number(F.Sqrt(correction2)) + Eps;
        return (p - m * Number(lr / correction1) / denominator, Amsgrad ? [m, v, largest] : [m, v]);
    }

    private static OpSpec Entry(string name, string summary, double weightDecay, bool decoupled) => OptimizerCatalog.Entry(
        name, summary, 1e-3, [First, Second, Largest],
        [
            Betas, EpsAttribute,
            decoupled ? new("weight_decay", weightDecay, "share of the parameter, times lr, that each step removes") : OptimizerCatalog.WeightDecay,
            new("amsgrad", false, "divide by the largest second moment so far (Reddi et al. 2018)"),
            OptimizerCatalog.Maximize,
            .. decoupled ? [] : new[] { OptimizerCatalog.L2Penalty },
            OptimizerCatalog.EpsInside,
        ],
        call => Read(call, new AdamOp(
            WeightDecay: call.Number("weight_decay") + (decoupled ? 0 : 2 * call.Number("l2_penalty")), Amsgrad: call.Flag("amsgrad"),
            Decoupled: decoupled, EpsInside: call.Flag("eps_inside"), Maximize: call.Flag("maximize"))),
        samples:
        [
            OptimizerCatalog.Sample([7], []),
            OptimizerCatalog.Sample([3, 67], [First, Second], true, ("step", 4), ("lr", 0.1), ("weight_decay", 0.1)),
            OptimizerCatalog.Sample([131], [First, Second, Largest], false, ("step", 99), ("amsgrad", true), ("lr", 0.1), ("maximize", true)),
            OptimizerCatalog.Sample([131], [First, Second], false, ("step", 9), ("eps_inside", true), ("eps", 0.1), ("lr", 0.1), ("betas", new[] { 0.8, 0.9 })),
        ]);

    private static AdamOp Read(OpCall call, AdamOp op)
    {
        var betas = call.Numbers("betas");
        if (betas.Count != 2) throw new UserException($"op {op.Name}: attribute 'betas' must be a list of two numbers, but has {betas.Count}.");
        return op with { Beta1 = betas[0], Beta2 = betas[1], Eps = call.Number("eps") };
    }
}
