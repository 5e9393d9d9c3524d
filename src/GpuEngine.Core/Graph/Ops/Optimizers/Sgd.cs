namespace GpuEngine.Core.Graph;

/// <summary>How the velocity of gradient descent enters the step; b is the momentum buffer, mu the momentum, g the gradient.</summary>
public enum MomentumForm
{
    /// <summary>b = mu b + (1 - dampening) g, w -= lr b: torch, and lecture S1. The rate is outside the velocity.</summary>
    RateOutside,

    /// <summary>b = mu b + lr (1 - dampening) g, w -= b: lecture S3. A change of the rate reaches only new gradients (A43).</summary>
    RateInside,

    /// <summary>
    /// Lecture S1 as typed (E6): the gradient is taken at w + mu v, then v = mu v + g, w -= lr v. The parameter of the op is
    /// the point where the gradient is taken, y = w + mu v, so y -= mu v_old + (lr - mu) v_new. On a quadratic of curvature k
    /// the determinant of the recursion is mu (1 + k) whatever the rate: it diverges for k > 1/mu - 1.
    /// </summary>
    LiteralNesterov,
}

/// <summary>
/// Stochastic gradient descent as torch.optim.SGD: with g += weight_decay param first, the buffer (which is g itself at step
/// 0) and, for Nesterov's form, g + momentum b in place of b (Sutskever et al. 2013). State: momentum_buffer, if Momentum is
/// not 0.
/// </summary>
public sealed record SgdOp(
    double Momentum = 0, double Dampening = 0, double WeightDecay = 0, bool Nesterov = false,
    MomentumForm Form = MomentumForm.RateOutside, bool Maximize = false, bool Clip = false) : OptimizerOp(Maximize, Clip)
{
    internal static readonly OpSpec Spec = OptimizerCatalog.Entry(
        "sgd", "gradient descent with momentum, torch.optim.SGD", 1e-3, [Buffer],
        [
            new("momentum", 0.0, "momentum factor"),
            new("dampening", 0.0, "dampening for momentum, from the second step on"),
            OptimizerCatalog.WeightDecay,
            new("nesterov", false, "Nesterov's momentum"),
            OptimizerCatalog.Maximize,
            OptimizerCatalog.L2Penalty,
            new("rate_inside", false, "the rate enters the velocity, not the step"),
        ],
        call => new SgdOp(
            call.Number("momentum"), call.Number("dampening"), call.Number("weight_decay") + 2 * call.Number("l2_penalty"),
            call.Flag("nesterov"), call.Flag("rate_inside") ? MomentumForm.RateInside : MomentumForm.RateOutside, call.Flag("maximize")),
        step: Done,
        samples:
        [
            OptimizerCatalog.Sample([7], []),
            OptimizerCatalog.Sample([3, 67], [], true, ("weight_decay", 0.1), ("maximize", true), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [], false, ("momentum", 0.9), ("dampening", 0.5), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Buffer], false, ("momentum", 0.9), ("dampening", 0.5), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Buffer], true, ("momentum", 0.9), ("nesterov", true), ("weight_decay", 0.01), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Buffer], false, ("momentum", 0.9), ("rate_inside", true), ("lr", 0.1)),
            OptimizerCatalog.Sample([131], [Buffer], false, ("momentum", 0.9), ("rate_inside", true), ("nesterov", true), ("l2_penalty", 0.1)),
        ]);

    internal static readonly OpSpec LiteralNesterovSpec = OptimizerCatalog.Entry(
        "nesterov_literal", "lecture S1's Nesterov as typed (wrong sign, no rate in the look-ahead); param is the look-ahead point", 1e-3, [Buffer],
        [new("momentum", 0.99, "momentum factor")],
        call => new SgdOp(call.Number("momentum"), Form: MomentumForm.LiteralNesterov),
        step: Done,
        samples: [OptimizerCatalog.Sample([67], []), OptimizerCatalog.Sample([67], [Buffer], false, ("momentum", 0.9), ("lr", 0.1))]);

    private const string Buffer = "momentum_buffer";

    public override string Name => Form == MomentumForm.LiteralNesterov ? "nesterov_literal" : "sgd";

    public override IReadOnlyList<string> StateNames => Momentum == 0 ? [] : [Buffer];

    protected override int FlopsPerElement => Momentum == 0 ? 4 : 8;

    public override OptimizerOp WithoutWeightDecay() => this with { WeightDecay = 0 };

    public override void Check()
    {
        AtLeastZero("momentum", Momentum);
        AtLeastZero("weight_decay", WeightDecay);
        if (Nesterov && (Momentum == 0 || Dampening != 0))
            throw new UserException($"{Name}: nesterov needs a momentum above 0 and dampening 0, but momentum is {Momentum} and dampening {Dampening}.");
    }

    protected override (Tensor Param, Tensor[] State) Update(Tensor param, Tensor grad, Tensor[] state, Tensor lr, Tensor step)
    {
        var rate = F.Cast(lr, param.DType);
        var g = AddDecay(grad, param, WeightDecay);
        if (Form == MomentumForm.RateInside) g *= rate;
        var buffer = g;
        if (Momentum != 0)
        {
            var first = F.Eq(step, F.Scalar(0, DType.F64));
            buffer = F.Where(first, g, state[0] * Momentum + g * (1 - Dampening));
        }

        var move = Nesterov ? g + buffer * Momentum : buffer;
        var updated = Form switch
        {
            MomentumForm.RateInside => param - move,
            MomentumForm.LiteralNesterov => param - state[0] * Momentum - buffer * F.Cast(lr - Momentum, param.DType),
            _ => param - move * rate,
        };
        return (updated, Momentum == 0 ? [] : [buffer]);
    }

    // torch keeps no step for SGD: its first step is the one that finds no buffer.
    private static int Done(OpCall call)
    {
        var given = call.Has("step") ? call.Integer("step") : 0;
        return call.Optional(Buffer) is null ? Math.Min(given, 0) : Math.Max(given, 1);
    }
}
