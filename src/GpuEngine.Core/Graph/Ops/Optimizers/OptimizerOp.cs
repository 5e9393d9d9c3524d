namespace GpuEngine.Core.Graph;

/// <summary>What an optimizer makes of a parameter: its new value, the new state by torch's names, and a bf16 copy where one was asked for.</summary>
public sealed record OptimizerUpdate(Tensor Param, IReadOnlyDictionary<string, Tensor> State, Tensor? Copy = null);

/// <summary>
/// One optimizer step on one tensor of any shape; in training that is the flat arena of a parameter group. Inputs: param,
/// grad and the states in the order of <see cref="StateNames"/>, all of one shape; then the scalars that change from step to
/// step and therefore live in device memory: lr (any float dtype; f64 gives torch's rounding), step (i64, the number of
/// steps done before this one: 0 at the first, so torch's t is step + 1) and, if <paramref name="Clip"/>, a factor that
/// multiplies the gradient on the way in. Outputs: param and the states, each of which may take over its input's storage, and with
/// <see cref="Copy"/> the new param once more.
/// The arithmetic is f64 for f64 parameters and f32 for all others; the scalars are derived in f64, once per launch.
/// </summary>
/// <param name="Maximize">Ascend instead of descend.</param>
/// <param name="Clip">The last input is a clip factor.</param>
public abstract record OptimizerOp(bool Maximize, bool Clip) : FusedOp
{
    /// <summary>
    /// Whether there is a last output: the new param rounded to bf16, for a network that computes in bf16 while the optimizer keeps its
    /// master in f32 (Micikevicius et al. 2018, section 3.1).
    /// </summary>
    public bool Copy { get; init; }

    /// <summary>The states this op keeps, by torch's names, in the order of its inputs and outputs.</summary>
    public abstract IReadOnlyList<string> StateNames { get; }

    /// <summary>Arithmetic per element, for <see cref="Cost"/>.</summary>
    protected abstract int FlopsPerElement { get; }

    /// <summary>Checks the options.</summary>
    /// <exception cref="UserException">An option is out of its range; the sentence names it.</exception>
    public abstract void Check();

    /// <summary>The same rule for parameters that weight decay leaves alone.</summary>
    public abstract OptimizerOp WithoutWeightDecay();

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var count = 2 + StateNames.Count;
        var param = inputs[0];
        foreach (var tensor in inputs.Take(count))
        {
            if (!tensor.DType.IsFloat() || tensor.Shape != param.Shape || (tensor.DType == DType.F64) != (param.DType == DType.F64))
                throw Mismatch(Name, $"param, grad and {StateNames.Count} states of one shape, all f64 or none", inputs);
        }

        var clip = inputs.Count == count + 3;
        if (inputs.Count != count + (Clip ? 3 : 2) || !IsFloatScalar(inputs[count]) ||
            inputs[count + 1] != new TensorType(DType.I64, Shape.Scalar) || (clip && !IsFloatScalar(inputs[^1])))
            throw Mismatch(Name, $"then a float scalar lr, an i64 scalar step{(Clip ? " and a float scalar clip" : "")}", inputs);
        return [param, .. inputs.Skip(2).Take(StateNames.Count), .. Copy ? [param with { DType = DType.BF16 }] : Array.Empty<TensorType>()];
    }

    public sealed override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        if (Copy)
        {
            // One op and a rounding: a device may have a kernel for the op.
            var updatedOnly = (this with { Copy = false }).Apply([.. inputs]).Outputs;
            return [.. updatedOnly, F.Cast(updatedOnly[0], DType.BF16)];
        }

        var count = 2 + StateNames.Count;
        var compute = inputs[0].DType == DType.F64 ? DType.F64 : DType.F32;
        var wide = inputs.Take(count).Select(t => F.Cast(t, compute)).ToArray();
        var (lr, step) = (F.Cast(inputs[count], DType.F64), F.Cast(inputs[count + 1], DType.F64));
        var grad = Clip ? wide[1] * F.Cast(inputs[count + 2], compute) : wide[1];
        var updated = Update(wide[0], Maximize ? -grad : grad, wide[2..], lr, step);
        return [F.Cast(updated.Param, inputs[0].DType), .. updated.State.Select((t, i) => F.Cast(t, inputs[2 + i].DType))];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : output <= StateNames.Count ? output + 1 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, FlopsPerElement * node.Inputs[0].Type.Elements);

    /// <summary>Records one step; see <see cref="OptimizerOp"/> for what the tensors are.</summary>
    /// <exception cref="ShapeException">A shape or dtype does not fit.</exception>
    public OptimizerUpdate Record(
        Tensor param, Tensor grad, IReadOnlyDictionary<string, Tensor> state, Tensor lr, Tensor step, Tensor? clip = null)
    {
        Tensor[] inputs = [param, grad, .. StateNames.Select(n => state[n]), lr, step, .. clip is null ? [] : new[] { clip }];
        return Named((this with { Clip = clip is not null }).Apply(inputs).Outputs);
    }

    /// <summary>The outputs of one step by name.</summary>
    internal OptimizerUpdate Named(IReadOnlyList<Tensor> outputs) => new(
        outputs[0], StateNames.Select((n, i) => (n, outputs[i + 1])).ToDictionary(p => p.n, p => p.Item2), Copy ? outputs[StateNames.Count + 1] : null);

    /// <summary>
    /// The formula, in the computing dtype: the gradient comes clipped and with its sign turned where the step maximises;
    /// <paramref name="lr"/> and <paramref name="step"/> (steps done before) are f64 scalars.
    /// </summary>
    protected abstract (Tensor Param, Tensor[] State) Update(Tensor param, Tensor grad, Tensor[] state, Tensor lr, Tensor step);

    /// <summary>grad + weightDecay param, torch's L2 form.</summary>
    protected static Tensor AddDecay(Tensor grad, Tensor param, double weightDecay) =>
        weightDecay == 0 ? grad : grad + param * weightDecay;

    /// <summary>Throws when an option is below 0 or not a number.</summary>
    protected void AtLeastZero(string option, double value)
    {
        if (!(value >= 0)) throw new UserException($"{Name}: {option} must be at least 0, but is {value}.");
    }

    /// <summary>Throws when an option is outside [0, 1).</summary>
    protected void Fraction(string option, double value)
    {
        if (!(value is >= 0 and < 1)) throw new UserException($"{Name}: {option} must be at least 0 and below 1, but is {value}.");
    }

    private static bool IsFloatScalar(TensorType type) => type.DType.IsFloat() && type.Shape.Rank == 0;
}
