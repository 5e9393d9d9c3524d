namespace GpuEngine.Nn.Optimizers;

/// <summary>The options of all optimizers as the command line takes them; null means "not given".</summary>
public sealed record OptimizerOptions
{
    public double? LearningRate { get; init; }

    public double? Momentum { get; init; }

    public double? Dampening { get; init; }

    public bool? Nesterov { get; init; }

    public double? WeightDecay { get; init; }

    /// <summary>rho of the penalty rho sum w^2; weight decay is 2 rho.</summary>
    public double? L2Penalty { get; init; }

    /// <summary>Decay rates of the two moments of Adam.</summary>
    public (double Beta1, double Beta2)? Betas { get; init; }

    public double? Eps { get; init; }

    public bool? Amsgrad { get; init; }

    /// <summary>Decay rate of RMSProp's second moment.</summary>
    public double? Alpha { get; init; }

    public bool? Centered { get; init; }

    public double? LrDecay { get; init; }

    public double? InitialAccumulatorValue { get; init; }

    public bool? Maximize { get; init; }

    /// <summary>The options that were given, by their names on the command line.</summary>
    internal IReadOnlyList<string> Given =>
    [
        .. new (string Name, object? Value)[]
        {
            ("lr", LearningRate), ("momentum", Momentum), ("dampening", Dampening), ("nesterov", Nesterov), ("weight-decay", WeightDecay),
            ("l2-penalty", L2Penalty), ("betas", Betas), ("eps", Eps), ("amsgrad", Amsgrad), ("alpha", Alpha), ("centered", Centered),
            ("lr-decay", LrDecay), ("initial-accumulator-value", InitialAccumulatorValue), ("maximize", Maximize),
        }.Where(o => o.Value is not null).Select(o => o.Name),
    ];
}
