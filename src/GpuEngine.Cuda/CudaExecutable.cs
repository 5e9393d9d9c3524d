using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda;

/// <summary>
/// A plan on a CUDA device. The first run launches one by one, which also makes libraries load what they load lazily; from
/// the second on the launches are replayed as one captured graph. Everything that changes between runs is in device memory.
/// </summary>
internal sealed class CudaExecutable : IExecutable
{
    private readonly CudaDevice _device;
    private readonly CudaVariableStore _store;
    private readonly Dictionary<MemoryClass, DeviceMemory> _arenas = [];
    private readonly Dictionary<MemoryClass, long> _allocated = [];
    private readonly Dictionary<string, InputStaging> _inputs = [];
    private readonly Dictionary<string, (DevicePointer Address, long Bytes)> _outputs = [];
    private readonly CudaKernel[] _kernels;
    private readonly bool[] _once;
    private readonly DeviceMemory _counters;
    private CudaEvent[] _marks = [];
    private CudaGraphExec? _graph;
    private bool _warm;

    public CudaExecutable(CudaDevice device, ExecutionPlan plan, CudaVariableStore store)
    {
        (_device, _store) = (device, store);
        Plan = plan;
        // Compiling takes longest and needs no device memory: a kernel with an error is reported before anything is allocated.
        _kernels = [.. plan.Launches.Select(l => device.PlanTarget.NewKernel(l.Node))];
        device.Library.Compile(_kernels.SelectMany(k => k.Requests));
        try
        {
            foreach (var (memoryClass, bytes) in plan.ArenaBytes)
            {
                var purpose = $"{memoryClass.ToString().ToLowerInvariant()} of {plan.Program.Name}";
                var (arena, isNew) = ScratchPool.IsShared(memoryClass)
                    ? store.Scratch.Rent(memoryClass, bytes, purpose)
                    : (device.AllocateZeroed(bytes, purpose), true);
                _arenas[memoryClass] = arena;
                _allocated[memoryClass] = isNew ? bytes : 0;
            }

            _counters = device.AllocateZeroed(_kernels.Sum(CounterBytes), $"counters of {plan.Program.Name}");
            store.Reserve(plan.Program.Variables);
        }
        catch (OutOfDeviceMemoryException exception)
        {
            DisposeMemory();
            throw exception.WithAdvice(MemoryAdvice.For(plan, device.Target.Alignment));
        }

        DevicePointer At(Placement p) => (p.Variable is null ? _arenas[p.Class].Address : store.Pointer(p.Variable)) + p.Offset;
        foreach (var input in plan.Program.Inputs)
        {
            _inputs[TensorProgram.InputName(input)] =
                new InputStaging(device.Stream, At(plan.Placements[input]), input.Type.Bytes);
        }

        foreach (var output in plan.Program.Outputs)
            _outputs[output.Name] = (At(plan.Placements[output.Tensor]), output.Tensor.Type.Bytes);

        var workspace = _arenas.TryGetValue(MemoryClass.Workspace, out var scratch) ? scratch.Address : default;
        var counter = _counters.Bytes > 0 ? _counters.Address : default;
        _once = new bool[_kernels.Length];
        for (var i = 0; i < _kernels.Length; i++)
        {
            var launch = plan.Launches[i];
            _kernels[i].Bind(
                device.Library, [.. launch.Outputs.Select(At)], [.. launch.Inputs.Select(At)], workspace, counter);
            counter += CounterBytes(_kernels[i]);
            // Constants keep their place, so they are filled here once and not at every run.
            _once[i] = launch.Node.Op is Leaf;
            if (_once[i]) _kernels[i].Launch(device.Stream);
        }
    }

    public ExecutionPlan Plan { get; }

    public IReadOnlyDictionary<MemoryClass, long> AllocatedBytes => _allocated;

    /// <summary>The launchers in the plan's order, for measuring.</summary>
    public IReadOnlyList<CudaKernel> Kernels => _kernels;

    /// <summary>Where an input lies, for measurements that fill it on the device; empty where the plan needs no such input.</summary>
    internal DeviceSpan<byte> InputSpan(string input) =>
        _inputs.TryGetValue(input, out var staging) ? new DeviceSpan<byte>(staging.Target, staging.Bytes) : default;

    public void Write(string input, ReadOnlySpan<byte> bytes)
    {
        if (!_inputs.TryGetValue(input, out var staging)) throw Unknown(input, "input", _inputs.Keys);
        CheckLength(input, "input", staging.Bytes, bytes.Length);
        staging.Write(bytes);
    }

    public void Run()
    {
        // Waiting after each launch is for finding errors; a graph would hide which launch it was.
        if (!_warm || !_device.Options.UseGraphs || _device.Context.SyncLaunches)
        {
            LaunchAll();
            _warm = true;
            return;
        }

        _graph ??= Capture();
        _graph.Launch(_device.Stream);
    }

    public void RunTimed(Span<double> seconds)
    {
        if (_marks.Length == 0)
        {
            _marks = new CudaEvent[_kernels.Length + 1];
            for (var i = 0; i < _marks.Length; i++) _marks[i] = _device.Context.CreateEvent(timing: true);
        }

        var stream = _device.Stream;
        stream.Record(_marks[0]);
        for (var i = 0; i < _kernels.Length; i++)
        {
            if (!_once[i]) _kernels[i].Launch(stream);
            stream.Record(_marks[i + 1]);
        }

        stream.Synchronize();
        for (var i = 0; i < _kernels.Length; i++)
        {
            if (!_once[i]) seconds[i] += _marks[i + 1].MillisecondsSince(_marks[i]) * 1e-3;
        }
    }

    public string? WayOf(int launch) => _kernels[launch].Way;

    public void Read(string output, Span<byte> bytes)
    {
        if (!_outputs.TryGetValue(output, out var place)) throw Unknown(output, "output", _outputs.Keys);
        CheckLength(output, "output", place.Bytes, bytes.Length);
        _device.Stream.CopyToHost(new ReadOnlyDeviceSpan<byte>(place.Address, place.Bytes), bytes);
    }

    public void Dispose()
    {
        // Runs in flight may still use the memory.
        _device.Drain();
        _graph?.Dispose();
        foreach (var mark in _marks) mark.Dispose();
        foreach (var input in _inputs.Values) input.Dispose();
        foreach (var kernel in _kernels) kernel.Dispose();
        DisposeMemory();
    }

    /// <summary>Bytes of a kernel's counters, each kernel on its own cache line.</summary>
    private static long CounterBytes(CudaKernel kernel) => (kernel.CounterBytes + 127) / 128 * 128;

    /// <summary>Queues every launch once, also into a capture: measurements record many runs in one graph.</summary>
    internal void LaunchAll()
    {
        for (var i = 0; i < _kernels.Length; i++)
        {
            if (!_once[i]) _kernels[i].Launch(_device.Stream);
        }
    }

    private CudaGraphExec Capture()
    {
        using var capture = _device.Stream.BeginCapture(CaptureMode.ThreadLocal);
        LaunchAll();
        using var graph = capture.End();
        return graph.Instantiate(Plan.Program.Name);
    }

    private void DisposeMemory()
    {
        foreach (var (memoryClass, arena) in _arenas)
        {
            if (ScratchPool.IsShared(memoryClass)) _store.Scratch.Return(arena);
            else arena.Dispose();
        }

        _arenas.Clear();
        _counters?.Dispose();
    }

    private ArgumentException Unknown(string name, string what, IEnumerable<string> known) =>
        new($"The program '{Plan.Program.Name}' has no {what} '{name}'; it has: {string.Join(", ", known)}.");

    private void CheckLength(string name, string what, long expected, int given)
    {
        if (expected != given)
            throw new ArgumentException($"The {what} '{name}' of '{Plan.Program.Name}' has {expected} bytes, but {given} were given.");
    }
}
