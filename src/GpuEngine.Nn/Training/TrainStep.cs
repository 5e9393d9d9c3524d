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

    public TrainStep(
        ModelVariables model, Shape inputShape, LossFunction loss, Optimizer optimizer, Clipping clipping, DType compute = DType.F32)
    {
        Model = model;
        var input = F.Input(Input, DType.F32, inputShape);
        var target = F.Input(Target, DType.I32, [inputShape[0]]);
        var lr = F.Input(LearningRate, DType.F64, Shape.Scalar);
        var trace = model.NewTrace(true, compute, Generator.Value);
        var logits = F.Cast(model.Model.Forward(F.Cast(input, compute), trace), DType.F32);
        if (logits.Rank != 2 || logits.Shape[0] != inputShape[0])
            throw new ShapeException($"The model turns an input of shape {inputShape} into {logits.Shape}; a classifier must give [{inputShape[0]}, classes].");
        Classes = logits.Shape[1];
        var lossTensor = loss.Mean(logits, target);
        var correct = Correct(logits, target);

        var fused = Fusions.Apply([lossTensor, correct, .. trace.Updates.Values]);
        (lossTensor, correct) = (fused[lossTensor], fused[correct]);
        var updates = new List<VariableUpdate>(model.Updates(trace).Select(u => u with { Value = fused[u.Value] }));
        List<NamedTensor> outputs = [new(Loss, lossTensor)];

        Gradients = Autodiff.Gradients(lossTensor, [.. model.Groups.SelectMany(g => g.Slots).Select(s => s.View)]);
        var gradients = PackByGroup(clipping.Value);
        Tensor? factor = null;
        if (clipping.Norm is { } limit)
        {
            var clip = F.ClipGradNorm(gradients, limit);
            factor = clip.Factor;
            outputs.Add(new(GradNorm, clip.TotalNorm));
        }

        for (var i = 0; i < gradients.Count; i++)
            updates.AddRange(Update(model.Groups[i], gradients[i], optimizer, lr, factor));
        updates.Add(new(Step, Step.Value + F.Literal(Shape.Scalar, DType.I64, 1)));
        updates.Add(new(Generator, Generator.Value + F.Literal([2], DType.I64, 0, 1)));
        updates.Add(new(LossSum, LossSum.Value + F.Cast(lossTensor, DType.F64)));
        updates.Add(new(CorrectSum, CorrectSum.Value + correct));
        Program = new TensorProgram("train_step", outputs, updates);
    }

    public ModelVariables Model { get; }

    public TensorProgram Program { get; }

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
    public IReadOnlyList<Tensor> Gradients { get; }

    private readonly List<(ParameterGroup, string, Variable, double)> _state = [];

    /// <summary>How many rows' largest logit is that of their label, i64.</summary>
    internal static Tensor Correct(Tensor logits, Tensor target) =>
        F.Sum(F.Cast(F.Eq(F.ArgMax(F.Detach(logits)), target), DType.I64));

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

    private List<VariableUpdate> Update(ParameterGroup group, Tensor gradient, Optimizer optimizer, Tensor lr, Tensor? clip)
    {
        var variables = optimizer.StateNames.ToDictionary(
            name => name, name => new Variable($"{name}.{group.Name}", DType.F32, group.Arena.Type.Shape, MemoryClass.Optimizer));
        foreach (var (name, variable) in variables) _state.Add((group, name, variable, optimizer.InitialState(name)));
        var current = variables.ToDictionary(v => v.Key, v => v.Value.Value);
        using var scope = Scope.Enter("optimizer");
        var update = optimizer.Record(group.Arena.Value, gradient, current, lr, Step.Value, clip, group.Decays);
        return [new(group.Arena, update.Param), .. update.State.Select(s => new VariableUpdate(variables[s.Key], s.Value))];
    }
}
