namespace GpuEngine.Core.Graph;

/// <summary>What the catalog entries of all optimizers have in common.</summary>
internal static class OptimizerCatalog
{
    public static readonly OpAttribute Maximize = new("maximize", false, "ascend instead of descend");
    public static readonly OpAttribute WeightDecay = new("weight_decay", 0.0, "added to the gradient times the parameter (L2, torch's form)");

    public static readonly OpAttribute L2Penalty =
        new("l2_penalty", 0.0, "rho of the penalty rho * sum w^2, whose gradient is 2 rho w: the same as weight_decay = 2 rho");

    public static readonly OpAttribute EpsInside = new("eps_inside", false, "eps under the root, as the lectures write it");

    /// <summary>
    /// An entry that takes param, grad, the states (zero, or <paramref name="initial"/>, where the file has none) and an
    /// optional clip factor, and returns the new param (as output and as param) and the new states.
    /// </summary>
    public static OpSpec Entry(
        string name, string summary, double lr, string[] states, OpAttribute[] attributes, Func<OpCall, OptimizerOp> make,
        Func<OpCall, double>? initial = null, Func<OpCall, int>? step = null, OpSample[]? samples = null) => new(name, summary)
        {
            Differentiable = false,
            Arguments =
        [
            new("param", Differentiable: false), new("grad", Differentiable: false),
            .. states.Select(s => new OpArgument(s, Optional: true, Differentiable: false)),
            new("clip", Optional: true, Differentiable: false),
        ],
            Attributes =
        [
            new("lr", lr, "learning rate"),
            .. attributes,
            new("step", step is null ? (object)0 : null, "steps done before this one (torch's state['step'] before the update)"),
        ],
            Build = call =>
            {
                var op = make(call);
                op.Check();
                var rate = call.Number("lr");
                if (!(rate >= 0)) throw new UserException($"op {name}: attribute 'lr' must be at least 0, but is {rate}.");
                var done = step?.Invoke(call) ?? call.Integer("step");
                if (done < 0) throw new UserException($"op {name}: attribute 'step' must be at least 0, but is {done}.");
                var param = call["param"];
                var state = op.StateNames.ToDictionary(s => s, s => call.Optional(s) ?? F.Full(param.Shape, initial?.Invoke(call) ?? 0, param.DType));
                var updated = op.Record(param, call["grad"], state, F.Scalar(rate, DType.F64), F.Scalar(done, DType.I64), call.Optional("clip"));
                return [new("output", updated.Param), new("param", updated.Param), .. op.StateNames.Select(s => new NamedTensor(s, updated.State[s]))];
            },
            Samples = samples ?? [],
        };

    /// <summary>A sample of <paramref name="shape"/>; states whose name says they hold squares are positive.</summary>
    public static OpSample Sample(int[] shape, string[] states, bool clip = false, params (string Name, object Value)[] attributes)
    {
        var sample = new OpSample { ["param"] = Graph.Sample.Normal(shape), ["grad"] = Graph.Sample.Normal(shape) };
        foreach (var state in states)
        {
            // A running variance is the second moment less the squared mean: squares at least 1, means at most 1/2.
            sample[state] = state switch
            {
                "exp_avg_sq" or "max_exp_avg_sq" or "square_avg" or "sum" => Graph.Sample.Uniform(1, 2, shape),
                _ => Graph.Sample.Uniform(-0.5, 0.5, shape),
            };
        }

        if (clip) sample["clip"] = Graph.Sample.Uniform(0.5, 1);
        foreach (var (name, value) in attributes) sample.Attributes[name] = value;
        return sample;
    }
}
