using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// A training step as a trainer records it: two normalised hidden layers with dropout, cross entropy, Adam; all state in
/// variables.
/// </summary>
internal sealed class SmallMlp : IDisposable
{
    public const int Batch = 16;
    private const int Inputs = 12;
    private const int Classes = 5;
    private readonly List<Variable> _weights = [];
    private readonly Variable _generator = new("generator", DType.I64, [2], MemoryClass.Inputs);
    private readonly System.Random _random = new(7);

    public SmallMlp(IDevice device)
    {
        var optimizer = new Adam(0.01);
        List<VariableUpdate> updates = [];
        var rate = new Variable("lr", DType.F64, Shape.Scalar, MemoryClass.Inputs);
        var step = new Variable("step", DType.I64, Shape.Scalar, MemoryClass.Inputs);
        var x = F.Input("x", DType.F32, [Batch, Inputs]);
        var target = F.Input("target", DType.I64, [Batch]);
        var h = x;
        var width = Inputs;
        Variable Weight(string name, params int[] shape)
        {
            var weight = new Variable(name, DType.F32, new Shape(shape), MemoryClass.Weights);
            _weights.Add(weight);
            return weight;
        }

        for (var layer = 0; layer < 2; layer++)
        {
            h = F.Linear(h, Weight($"{layer}.weight", 20, width).Value, Weight($"{layer}.bias", 20).Value);
            var mean = new Variable($"{layer}.running_mean", DType.F32, [20], MemoryClass.Weights);
            var variance = new Variable($"{layer}.running_var", DType.F32, [20], MemoryClass.Weights);
            var norm = F.BatchNorm(h, mean.Value, variance.Value, Weight($"{layer}.gamma", 20).Value, Weight($"{layer}.beta", 20).Value, training: true);
            updates.Add(new(mean, norm.RunningMean!));
            updates.Add(new(variance, norm.RunningVar!));
            h = F.Dropout(F.Relu(norm.Output), 0.25, true, _generator.Value, layer);
            width = 20;
        }

        var logits = F.Linear(h, Weight("head.weight", Classes, width).Value, Weight("head.bias", Classes).Value);
        var loss = F.CrossEntropy(logits, target);
        var gradients = Autodiff.Gradients(loss, [.. _weights.Select(w => w.Value)]);
        for (var i = 0; i < _weights.Count; i++)
        {
            var states = optimizer.StateNames.ToDictionary(
                s => s, s => new Variable($"{_weights[i].Name}.{s}", DType.F32, _weights[i].Type.Shape, MemoryClass.Optimizer));
            var next = optimizer.Record(
                _weights[i].Value, gradients[i], states.ToDictionary(s => s.Key, s => s.Value.Value), rate.Value, step.Value, null);
            updates.Add(new(_weights[i], next.Param));
            updates.AddRange(states.Select(s => new VariableUpdate(s.Value, next.State[s.Key])));
        }

        updates.Add(new(step, step.Value + F.Scalar(1, DType.I64)));
        updates.Add(new(_generator, _generator.Value + F.Literal([2], DType.I64, 0, 1)));
        Evaluation = new Evaluation(device, [new("loss", loss), new("hidden", h)], updates);
        Evaluation.Variables.Write<double>(rate, [0.01]);
        Evaluation.Variables.Write<long>(_generator, [42, 0]);
        foreach (var weight in _weights)
        {
            var scale = weight.Type.Shape.Rank == 2 ? Math.Sqrt(2.0 / weight.Type.Shape[1]) : 0;
            var values = new float[weight.Type.Elements];
            for (var i = 0; i < values.Length; i++)
                values[i] = weight.Name.EndsWith("gamma", StringComparison.Ordinal) ? 1 : (float)(scale * (2 * _random.NextDouble() - 1));
            Evaluation.Variables.Write<float>(weight, values);
        }
    }

    public Evaluation Evaluation { get; }

    public IReadOnlyList<Variable> Weights => _weights;

    /// <summary>One step on a batch of its own; the loss before the step.</summary>
    public double Step()
    {
        var x = new float[Batch * Inputs];
        var target = new long[Batch];
        for (var n = 0; n < Batch; n++)
        {
            target[n] = _random.Next(Classes);
            for (var i = 0; i < Inputs; i++) x[n * Inputs + i] = (float)(_random.NextDouble() + (i == target[n] ? 1 : 0));
        }

        Evaluation.Executable.Write<float>("x", x);
        Evaluation.Executable.Write<long>("target", target);
        Evaluation.Run();
        return Evaluation.Get("loss")[0];
    }

    public void Dispose() => Evaluation.Dispose();
}
