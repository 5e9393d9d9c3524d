using GpuEngine.Core;

namespace GpuEngine.Nn.Optimizers;

/// <summary>The optimizers by name, each with the options it has.</summary>
internal static class OptimizerNames
{
    private static readonly string[] SgdOptions = ["lr", "momentum", "dampening", "nesterov", "weight-decay", "l2-penalty", "maximize"];
    private static readonly string[] AdagradOptions = ["lr", "lr-decay", "weight-decay", "l2-penalty", "initial-accumulator-value", "eps", "maximize"];
    private static readonly string[] RmsOptions = ["lr", "alpha", "eps", "weight-decay", "l2-penalty", "momentum", "centered", "maximize"];
    private static readonly string[] AdamOptions = ["lr", "betas", "eps", "weight-decay", "l2-penalty", "amsgrad", "maximize"];

    private static readonly Entry[] Entries =
    [
        new("sgd", SgdOptions, o => Sgd(o, false)),
        new("adagrad", AdagradOptions, o => Adagrad(o, false, 1e-10)),
        new("rmsprop", RmsOptions, o => RmsProp(o, false, 0.99)),
        new("adam", AdamOptions, o => Adam(o, false)),
        new("adamw", ["lr", "betas", "eps", "weight-decay", "amsgrad", "maximize"], AdamW),
        // The lectures' forms, with the constants they recommend.
        new("sgd_rate_inside", SgdOptions, o => Sgd(o, true)),
        new("nesterov_literal", ["lr", "momentum"], o => new NesterovLiteral(o.LearningRate ?? 1e-3, o.Momentum ?? 0.99)),
        new("adagrad_literal", AdagradOptions, o => Adagrad(o, true, 1e-8)),
        new("rmsprop_literal", RmsOptions, o => RmsProp(o, true, 0.9)),
        new("adam_eps_inside", AdamOptions, o => Adam(o, true)),
        new("adam_literal", ["lr", "betas", "eps"], AdamLiteral),
    ];

    public static IReadOnlyList<string> All => [.. Entries.Select(e => e.Name)];

    public static Optimizer Create(string name, OptimizerOptions options)
    {
        var entry = Entries.FirstOrDefault(e => e.Name == name) ?? throw new UserException(NearestName.Sentence("optimizer", name, All));
        var stray = options.Given.FirstOrDefault(g => !entry.Options.Contains(g));
        if (stray is not null)
            throw new UserException($"The optimizer '{name}' has no option --{stray}; it has {string.Join(", ", entry.Options.Select(o => "--" + o))}.");
        return entry.Make(options);
    }

    private static Sgd Sgd(OptimizerOptions o, bool rateInside) => new(
        o.LearningRate ?? 1e-3, o.Momentum ?? 0, o.Dampening ?? 0, o.WeightDecay ?? 0, o.Nesterov ?? false, o.Maximize ?? false,
        rateInside, o.L2Penalty ?? 0);

    private static Adagrad Adagrad(OptimizerOptions o, bool epsInside, double eps) => new(
        o.LearningRate ?? 1e-2, o.LrDecay ?? 0, o.WeightDecay ?? 0, o.InitialAccumulatorValue ?? 0, o.Eps ?? eps, o.Maximize ?? false,
        epsInside, o.L2Penalty ?? 0);

    private static RmsProp RmsProp(OptimizerOptions o, bool epsInside, double alpha) => new(
        o.LearningRate ?? 1e-2, o.Alpha ?? alpha, o.Eps ?? 1e-8, o.WeightDecay ?? 0, o.Momentum ?? 0, o.Centered ?? false,
        o.Maximize ?? false, epsInside, o.L2Penalty ?? 0);

    private static Adam Adam(OptimizerOptions o, bool epsInside)
    {
        var (beta1, beta2) = o.Betas ?? (0.9, 0.999);
        return new(
            o.LearningRate ?? 1e-3, beta1, beta2, o.Eps ?? 1e-8, o.WeightDecay ?? 0, o.Amsgrad ?? false, o.Maximize ?? false, epsInside,
            o.L2Penalty ?? 0);
    }

    private static AdamW AdamW(OptimizerOptions o)
    {
        var (beta1, beta2) = o.Betas ?? (0.9, 0.999);
        return new(o.LearningRate ?? 1e-3, beta1, beta2, o.Eps ?? 1e-8, o.WeightDecay ?? 1e-2, o.Amsgrad ?? false, o.Maximize ?? false);
    }

    private static AdamLiteral AdamLiteral(OptimizerOptions o)
    {
        var (beta1, beta2) = o.Betas ?? (0.9, 0.999);
        return new(o.LearningRate ?? 1e-3, beta1, beta2, o.Eps ?? 1e-8);
    }

    private sealed record Entry(string Name, string[] Options, Func<OptimizerOptions, Optimizer> Make);
}
