using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Tests.Optimizers;

/// <summary>
/// An optimizer in a training step as a trainer builds it: parameters, states, rate and step count are variables, the
/// gradient is a graph of the parameters and an input called "push".
/// </summary>
internal sealed class OptimizerRun : IDisposable
{
    private readonly CpuDevice _device;
    private readonly Evaluation _evaluation;
    private readonly Variable _param;
    private readonly Dictionary<string, Variable> _states = [];
    private readonly Variable _rate = new("lr", DType.F64, Shape.Scalar, MemoryClass.Inputs);
    private readonly Variable _step = new("step", DType.I64, Shape.Scalar, MemoryClass.Inputs);
    private readonly DType _dtype;
    private readonly int _length;

    public OptimizerRun(
        Optimizer optimizer, DType dtype, double[] start, Func<Tensor, Tensor, Tensor> gradient, int threads = 1, bool fused = true, bool clip = false)
    {
        (_dtype, _length) = (dtype, start.Length);
        _device = new CpuDevice(threads, fused);
        Shape shape = [start.Length];
        _param = new Variable("param", dtype, shape, MemoryClass.Weights);
        foreach (var name in optimizer.StateNames) _states[name] = new Variable(name, dtype, shape, MemoryClass.Optimizer);
        var push = F.Input("push", dtype, shape);
        // Parameters appear in the gradient even where it is constant: an input that nothing reads is no input.
        var grad = gradient(_param.Value, push);
        var factor = clip ? F.ClipGradNorm([grad], 1).Factor : null;
        var updated = optimizer.Record(_param.Value, grad, _states.ToDictionary(s => s.Key, s => s.Value.Value), _rate.Value, _step.Value, factor);
        List<VariableUpdate> updates = [new(_param, updated.Param), new(_step, _step.Value + F.Scalar(1, DType.I64))];
        updates.AddRange(_states.Select(s => new VariableUpdate(s.Value, updated.State[s.Key])));
        _evaluation = new Evaluation(_device, [], updates);
        _evaluation.Variables.Write(_param, ElementData.FromDoubles(dtype, start));
        foreach (var (name, variable) in _states)
            _evaluation.Variables.Write(variable, ElementData.FromDoubles(dtype, [.. Enumerable.Repeat(optimizer.InitialState(name), start.Length)]));
    }

    public ExecutionPlan Plan => _evaluation.Executable.Plan;

    public double[] Param => Read(_param);

    public double[] State(string name) => Read(_states[name]);

    public OptimizerRun Step(double rate, double[]? push = null)
    {
        _evaluation.Variables.Write<double>(_rate, [rate]);
        _evaluation.Set("push", push ?? new double[_length]);
        _evaluation.Run();
        return this;
    }

    public void Dispose()
    {
        _evaluation.Dispose();
        _device.Dispose();
    }

    private double[] Read(Variable variable)
    {
        var bytes = new byte[variable.Type.Bytes];
        _evaluation.Variables.Read(variable, bytes);
        return ElementData.ToDoubles(_dtype, bytes);
    }
}
