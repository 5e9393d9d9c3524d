namespace GpuEngine.Core.Graph;

/// <summary>What one clipped step makes of all groups of parameters.</summary>
/// <param name="Groups">The new values by group.</param>
/// <param name="Clip">Norm, factor and flag of all gradients together.</param>
public sealed record ClippedUpdate(IReadOnlyList<OptimizerUpdate> Groups, ClipResult Clip);

/// <summary>One group of parameters of a step: tensors of one shape.</summary>
/// <param name="Param">The parameters.</param>
/// <param name="Grad">Their gradient, not clipped.</param>
/// <param name="State">The states by torch's names.</param>
/// <param name="Decays">False leaves weight decay out.</param>
public sealed record StepGroup(Tensor Param, Tensor Grad, IReadOnlyDictionary<string, Tensor> State, bool Decays = true);

/// <summary>
/// Gradient clipping by the global 2-norm and one optimizer step on all groups of parameters: <see cref="ClipGradNormOp"/>, then
/// <paramref name="Rule"/> with its factor. Inputs: param, grad and states of each group, then lr and step as in
/// <see cref="OptimizerOp"/>. Outputs: param, states (and copy) of each group, then those of <see cref="ClipGradNormOp"/>.
/// </summary>
/// <param name="Rule">The optimizer, without a clip input.</param>
/// <param name="Decays">1 for each group with weight decay, 0 for those without.</param>
/// <param name="Norm">The clipping.</param>
public sealed record ClippedStepOp(OptimizerOp Rule, Ints Decays, ClipGradNormOp Norm) : FusedOp
{
    public override string Name => "clipped_" + Rule.Name;

    /// <summary>Inputs of one group.</summary>
    public int InputsPerGroup => 2 + Rule.StateNames.Count;

    /// <summary>Outputs of one group.</summary>
    public int OutputsPerGroup => 1 + Rule.StateNames.Count + (Rule.Copy ? 1 : 0);

    /// <summary>The rule of a group.</summary>
    public OptimizerOp RuleOf(int group) => Decays[group] == 1 ? Rule : Rule.WithoutWeightDecay();

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs.Count != Decays.Count * InputsPerGroup + 2)
            throw Mismatch(Name, $"{Decays.Count} groups of param, grad and {Rule.StateNames.Count} states, then lr and step", inputs);
        var result = new List<TensorType>();
        for (var g = 0; g < Decays.Count; g++) result.AddRange(Rule.Infer([.. Group(inputs, g), .. inputs.TakeLast(2)]));
        return [.. result, .. Norm.Infer([.. Enumerable.Range(0, Decays.Count).Select(g => inputs[g * InputsPerGroup + 1])])];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var norm = Norm.Apply([.. Enumerable.Range(0, Decays.Count).Select(g => inputs[g * InputsPerGroup + 1])]).Outputs;
        var result = new List<Tensor>();
        for (var g = 0; g < Decays.Count; g++)
            result.AddRange((RuleOf(g) with { Clip = true }).Apply([.. Group(inputs, g), .. inputs.TakeLast(2), norm[1]]).Outputs);
        return [.. result, .. norm];
    }

    public override int InPlaceInput(int output)
    {
        var (group, own) = (output / OutputsPerGroup, output % OutputsPerGroup);
        if (group >= Decays.Count || Rule.InPlaceInput(own) is not (>= 0 and var input)) return -1;
        return group * InputsPerGroup + input;
    }

    /// <summary>Every gradient is read twice: for the norm and for the step.</summary>
    public override Cost Cost(Node node)
    {
        var grads = Enumerable.Range(0, Decays.Count).Select(g => node.Inputs[g * InputsPerGroup + 1].Type).ToArray();
        return Graph.Cost.Streaming(node, 20 * grads.Sum(t => t.Elements)) + new Cost(grads.Sum(t => t.Bytes), 0, 0);
    }

    /// <summary>Records one step.</summary>
    /// <param name="rule">The optimizer.</param>
    /// <param name="groups">What it steps on.</param>
    /// <param name="lr">The learning rate, a float scalar.</param>
    /// <param name="step">Steps done before, an i64 scalar.</param>
    /// <param name="maxNorm">The norm that all gradients together may have.</param>
    /// <param name="inclusive">The lecture's clipping rule in place of torch's.</param>
    /// <param name="segments">See <see cref="ClipGradNormOp.Segments"/>.</param>
    /// <exception cref="ShapeException">A shape or dtype does not fit.</exception>
    /// <exception cref="UserException">max_norm is out of its range.</exception>
    public static ClippedUpdate Record(
        OptimizerOp rule, IReadOnlyList<StepGroup> groups, Tensor lr, Tensor step, double maxNorm, bool inclusive = false, Ints segments = default)
    {
        F.CheckClip(maxNorm, 2, inclusive);
        var op = new ClippedStepOp(
            rule with { Clip = false }, [.. groups.Select(g => g.Decays ? 1 : 0)], new ClipGradNormOp(maxNorm, 2, inclusive) { Segments = segments });
        Tensor[] inputs = [.. groups.SelectMany(g => (Tensor[])[g.Param, g.Grad, .. rule.StateNames.Select(n => g.State[n])]), lr, step];
        var outputs = op.Apply(inputs).Outputs;
        var updates = groups.Select((_, g) => rule.Named([.. outputs.Skip(g * op.OutputsPerGroup).Take(op.OutputsPerGroup)])).ToArray();
        return new ClippedUpdate(updates, ClipGradNormOp.Named([.. outputs.Skip(groups.Count * op.OutputsPerGroup)]));
    }

    private IEnumerable<T> Group<T>(IReadOnlyList<T> inputs, int group) => inputs.Skip(group * InputsPerGroup).Take(InputsPerGroup);
}
