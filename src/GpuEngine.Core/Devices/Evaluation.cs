using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Devices;

/// <summary>
/// A program planned, loaded and owned in one object: for evaluating a few tensors without a trainer (tests, the `op` command,
/// the lab).
/// </summary>
public sealed class Evaluation : IDisposable
{
    private readonly IVariableStore _store;
    private readonly IExecutable _executable;

    public Evaluation(IDevice device, IReadOnlyList<NamedTensor> outputs, IReadOnlyList<VariableUpdate>? updates = null)
        : this(device, new TensorProgram("evaluation", outputs, updates))
    {
    }

    public Evaluation(IDevice device, TensorProgram program)
    {
        _store = device.CreateStore();
        _executable = device.Load(Planner.Plan(program, device.Target), _store);
        Program = program;
    }

    public TensorProgram Program { get; }

    public IExecutable Executable => _executable;

    /// <summary>Values of a variable that the program reads.</summary>
    public IVariableStore Variables => _store;

    /// <summary>
    /// Sets an input from doubles, converted to its dtype. An input of the program that no result needs once the passes are
    /// through has no place on the device; setting it does nothing.
    /// </summary>
    public void Set(string input, ReadOnlySpan<double> values)
    {
        var type = Program.Inputs.First(t => TensorProgram.InputName(t) == input).Type;
        if (_executable.Plan.Program.Inputs.All(t => TensorProgram.InputName(t) != input)) return;
        _executable.Write(input, ElementData.FromDoubles(type.DType, values));
    }

    public void Run() => _executable.Run();

    /// <summary>An output of the last run as doubles.</summary>
    public double[] Get(string output)
    {
        var type = Program.Outputs.First(o => o.Name == output).Tensor.Type;
        var bytes = new byte[type.Bytes];
        _executable.Read(output, bytes);
        return ElementData.ToDoubles(type.DType, bytes);
    }

    public void Dispose()
    {
        _executable.Dispose();
        _store.Dispose();
    }
}
