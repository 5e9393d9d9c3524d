using GpuEngine.Core;
using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Optimizers;

/// <summary>
/// An update rule with its options. It holds no tensors: a trainer makes a variable (MemoryClass.Optimizer) for each of
/// <see cref="StateNames"/> beside each parameter arena, records the update into the step's graph and makes the results the
/// variables' new values. Names, options, defaults and rounding are those of torch.optim.
/// </summary>
public abstract class Optimizer
{
    private readonly OptimizerOp _op;

    /// <param name="name">The name on the command line.</param>
    /// <param name="learningRate">The rate that schedules start from.</param>
    /// <param name="op">The rule with its options.</param>
    /// <exception cref="UserException">The rate or an option is out of its range.</exception>
    protected Optimizer(string name, double learningRate, OptimizerOp op)
    {
        if (!(learningRate >= 0) || !double.IsFinite(learningRate))
            throw new UserException($"{name}: the learning rate must be at least 0, but is {learningRate}.");
        op.Check();
        Name = name;
        LearningRate = learningRate;
        _op = op;
    }

    /// <summary>"sgd", "adamw", ...</summary>
    public string Name { get; }

    /// <summary>The base rate; what a step uses is the scalar tensor given to <see cref="Record"/>.</summary>
    public double LearningRate { get; }

    /// <summary>The states by torch's names ("exp_avg", "momentum_buffer"), each of its parameter's shape and dtype.</summary>
    public IReadOnlyList<string> StateNames => _op.StateNames;

    /// <summary>The graph op with its attributes; two optimizers of equal ops step alike.</summary>
    public OptimizerOp Op => _op;

    /// <summary>
    /// Makes an optimizer by name; options not given take torch's defaults.
    /// </summary>
    /// <exception cref="UserException">Unknown name, an option that this optimizer does not have, or a value out of range.</exception>
    public static Optimizer Create(string name, OptimizerOptions? options = null) => OptimizerNames.Create(name, options ?? new OptimizerOptions());

    /// <summary>The names that <see cref="Create"/> knows.</summary>
    public static IReadOnlyList<string> Names => OptimizerNames.All;

    /// <summary>What a state is filled with before the first step.</summary>
    public virtual double InitialState(string state) => 0;

    /// <summary>Records one step.</summary>
    /// <param name="param">Parameters, any shape; in training a flat arena [P].</param>
    /// <param name="grad">Their gradient.</param>
    /// <param name="state">A tensor of the parameters' shape for each of <see cref="StateNames"/>.</param>
    /// <param name="lr">The rate of this step, a float scalar (f64 rounds as torch does).</param>
    /// <param name="step">Steps done before this one, an i64 scalar: 0 at the first.</param>
    /// <param name="clip">A factor for the gradient, a float scalar (see F.ClipGradNorm), or null.</param>
    /// <param name="decays">False leaves weight decay out, for parameters that are exempt from it.</param>
    /// <param name="copy">Whether the new parameters are wanted in bf16 as well.</param>
    /// <returns>The new parameters and states; as a variable's update each is written in place.</returns>
    public OptimizerUpdate Record(
        Tensor param, Tensor grad, IReadOnlyDictionary<string, Tensor> state, Tensor lr, Tensor step, Tensor? clip = null, bool decays = true,
        bool copy = false) =>
        ((decays ? _op : _op.WithoutWeightDecay()) with { Copy = copy }).Record(param, grad, state, lr, step, clip);

    /// <summary>Records one step on all groups of parameters with their gradients clipped by the global norm, as one op.</summary>
    /// <param name="groups">The groups with their gradients, which are not clipped yet.</param>
    /// <param name="lr">The rate of this step, a float scalar.</param>
    /// <param name="step">Steps done before this one, an i64 scalar.</param>
    /// <param name="maxNorm">The norm that all gradients together may have (torch.nn.utils.clip_grad_norm_).</param>
    /// <param name="copy">Whether the new parameters are wanted in bf16 as well.</param>
    /// <param name="segments">First elements of the parts whose norms are wanted as well, the gradients laid end to end.</param>
    public ClippedUpdate RecordClipped(
        IReadOnlyList<StepGroup> groups, Tensor lr, Tensor step, double maxNorm, bool copy = false, Ints segments = default) =>
        ClippedStepOp.Record(_op with { Copy = copy }, groups, lr, step, maxNorm, segments: segments);

    /// <summary>The name, the rate and the rule's attributes; run files record it.</summary>
    public override string ToString() => $"{Name} lr={LearningRate} {_op}";
}
