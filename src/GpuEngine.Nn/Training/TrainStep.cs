using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Nn.Training;

/// <summary>How the gradient is clipped before the update; both limits may be null.</summary>
/// <param name="Norm">Limit of the global norm (Pascanu et al. 2013), torch's clip_grad_norm_.</param>
/// <param name="Value">Limit of each entry, torch's clip_grad_value_.</param>
public readonly record struct Clipping(double? Norm, double? Value);

/// <summary>
/// One training step as one program: forward, backward, clipping, the optimizer, and the counters that go with them. Everything
/// that changes from step to step is read from device memory (inputs and variables), so the program can be replayed.
/// </summary>
public sealed class TrainStep
{
    /// <summary>Names of the program's inputs and outputs.</summary>
    public const string Input = "input", Target = "target", LearningRate = "lr", Loss = "loss", GradNorm = "grad_norm";

    /// <param name="model">The model's variables.</param>
    /// <param name="inputShape">[N, C, H, W].</param>
    /// <param name="loss">What is minimised.</param>
    /// <param name="optimizer">How.</param>
    /// <param name="options">What else; null takes <see cref="StepOptions.Default"/>.</param>
    /// <exception cref="ShapeException">The model does not take the input, or gives no logits.</exception>
    /// <exception cref="UserException">The model cannot be cut into that many segments.</exception>
    public TrainStep(ModelVariables model, Shape inputShape, LossFunction loss, Optimizer optimizer, StepOptions? options = null)
    {
        Model = model;
        options ??= StepOptions.Default;
        var (compute, passes, pipeline) = (options.Compute, options.Passes, options.Pipeline);
        var input = F.Input(Input, pipeline.DType, inputShape);
        var target = F.Input(Target, DType.I32, [inputShape[0]]);
        var lr = F.Input(LearningRate, DType.F64, Shape.Scalar);
        if (compute != DType.F32) model.KeepCopies(compute);
        var trace = model.NewTrace(true, compute, Generator.Value);
        var logits = F.Cast(model.Model.Forward(pipeline.Training(input, Generator.Value, compute), trace), DType.F32);
        if (logits.Rank != 2 || logits.Shape[0] != inputShape[0])
            throw new ShapeException($"The model turns an input of shape {inputShape} into {logits.Shape}; a classifier must give [{inputShape[0]}, classes].");
        Classes = logits.Shape[1];
        var lossTensor = loss.Mean(logits, target);
        var correct = Correct(logits, target);

        var fused = Fusions.Apply([lossTensor, correct, .. trace.Updates.Values], options.ChannelsLast, passes);
        var (measured, layers) = LayerByProducts.Ask([.. fused.Values.Distinct()], options.ByProducts);
        (lossTensor, correct) = (measured[fused[lossTensor]], measured[fused[correct]]);
        var updates = new List<VariableUpdate>(model.Updates(trace).Select(u => u with { Value = measured[fused[u.Value]] }));
        Measurements = new StepMeasurements(options.ByProducts, layers, model);
        List<NamedTensor> outputs = [new(Loss, lossTensor), .. Measurements.LayerOutputs];

        Gradients = model.GradientsOf(lossTensor, trace);
        var gradients = PackByGroup(options.Clipping.Value);
        updates.AddRange(OptimizerStep(optimizer, gradients, lr, options.Clipping.Norm, outputs));
        updates.Add(new(Step, Step.Value + F.Literal(Shape.Scalar, DType.I64, 1)));
        updates.Add(new(Generator, Generator.Value + F.Literal([2], DType.I64, 0, 1)));
        updates.Add(new(LossSum, LossSum.Value + F.Cast(lossTensor, DType.F64)));
        updates.Add(new(CorrectSum, CorrectSum.Value + correct));
        Program = new TensorProgram("train_step", outputs, updates);
        if (passes.FuseCrossEntropy) Follow(FuseCrossEntropy.Apply([.. Program.Roots]));
        // Backward nodes are younger than the loss; all that is older is forward, also what is measured on the way.
        var last = Traversal.Ancestors([Program.Outputs[0].Tensor])[^1].Id;
        IReadOnlySet<Node> forward = Program.Nodes.Where(n => n.Id <= last).ToHashSet();
        if (passes.Checkpoint is { } segments) forward = Follow(CheckpointSegments.Apply(Program, forward, segments));
        if (passes.Recompute) Follow(RecomputeActivations.Apply(Program, forward));
    }

    public ModelVariables Model { get; }

    /// <summary>What a step leaves beside the loss, where it was asked for.</summary>
    public StepMeasurements Measurements { get; }

    public TensorProgram Program { get; private set; }

    public int Classes { get; }

    /// <summary>Steps done, i64.</summary>
    public Variable Step { get; } = new("step", DType.I64, Shape.Scalar, MemoryClass.Optimizer);

    /// <summary>Seed and offset of the random generator, i64[2]; the offset is the step.</summary>
    public Variable Generator { get; } = new("generator", DType.I64, [2], MemoryClass.Optimizer);

    /// <summary>Sum of the batch losses since it was last cleared, f64.</summary>
    public Variable LossSum { get; } = new("loss_sum", DType.F64, Shape.Scalar, MemoryClass.Optimizer);

    /// <summary>Right answers since it was last cleared, i64.</summary>
    public Variable CorrectSum { get; } = new("correct_sum", DType.I64, Shape.Scalar, MemoryClass.Optimizer);

    /// <summary>State of the optimizer by group and torch's name.</summary>
    public IReadOnlyList<(ParameterGroup Group, string State, Variable Variable, double Start)> OptimizerState => _state;

    /// <summary>Gradients of the loss by parameter, in the order of the groups' slots.</summary>
    public IReadOnlyList<Tensor> Gradients { get; private set; }

    private readonly List<(ParameterGroup, string, Variable, double)> _state = [];

    /// <summary>How many rows' largest logit is that of their label, i64.</summary>
    internal static Tensor Correct(Tensor logits, Tensor target) =>
        F.Sum(F.Cast(F.Eq(F.ArgMax(F.Detach(logits)), target), DType.I64));

    private IReadOnlySet<Node> Follow(Rematerialization rewritten)
    {
        Follow(rewritten.Map);
        return rewritten.Forward;
    }

    private void Follow(IReadOnlyDictionary<Tensor, Tensor> map)
    {
        Program = Program.Map(map);
        Gradients = [.. Gradients.Select(g => map[g])];
    }

    private List<Tensor> PackByGroup(double? limit)
    {
        var result = new List<Tensor>();
        var start = 0;
        foreach (var group in Model.Groups)
        {
            var packed = group.Pack([.. Gradients.Skip(start).Take(group.Slots.Count)]);
            result.Add(limit is { } value ? F.ClipGradValue(packed, value) : packed);
            start += group.Slots.Count;
        }

        return result;
    }

    private List<VariableUpdate> OptimizerStep(Optimizer optimizer, List<Tensor> gradients, Tensor lr, double? limit, List<NamedTensor> outputs)
    {
        var groups = Model.Groups.Select((group, i) => (Group: group, Step: Group(group, gradients[i], optimizer))).ToArray();
        using var scope = Scope.Enter("optimizer");
        var copy = Model.Groups.Any(g => g.Copy is not null);
        IReadOnlyList<OptimizerUpdate> steps;
        if (limit is { } norm)
        {
            var clipped = optimizer.RecordClipped([.. groups.Select(g => g.Step)], lr, Step.Value, norm, copy, Measurements.Segments);
            outputs.Add(new(GradNorm, clipped.Clip.TotalNorm));
            if (clipped.Clip.Segments is { } segments) outputs.AddRange(StepMeasurements.GradientOutputs(segments));
            steps = clipped.Groups;
        }
        else
        {
            if (Measurements.Segments.Count > 0) outputs.AddRange(StepMeasurements.GradientOutputs(F.ClipGradNorm(gradients, 1, segments: Measurements.Segments).Segments!));
            steps = [.. groups.Select(g => optimizer.Record(g.Step.Param, g.Step.Grad, g.Step.State, lr, Step.Value, null, g.Step.Decays, copy))];
        }

        return
        [
            .. groups.SelectMany((g, i) => _state.Where(s => s.Item1 == g.Group).Select(s => new VariableUpdate(s.Item3, steps[i].State[s.Item2]))
                .Prepend(new VariableUpdate(g.Group.Arena, steps[i].Param))
                .Concat(g.Group.Copy is { } rounded ? [new VariableUpdate(rounded, steps[i].Copy!)] : Array.Empty<VariableUpdate>())),
        ];
    }

    /// <summary>A group with variables for its state.</summary>
    private StepGroup Group(ParameterGroup group, Tensor gradient, Optimizer optimizer)
    {
        var state = new Dictionary<string, Tensor>();
        foreach (var name in optimizer.StateNames)
        {
            var variable = new Variable($"{name}.{group.Name}", DType.F32, group.Arena.Type.Shape, MemoryClass.Optimizer);
            _state.Add((group, name, variable, optimizer.InitialState(name)));
            state[name] = variable.Value;
        }

        return new StepGroup(group.Arena.Value, gradient, state, group.Decays);
    }
}
