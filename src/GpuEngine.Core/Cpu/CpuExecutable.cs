using System.Diagnostics;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Cpu;

internal sealed unsafe class CpuExecutable : IExecutable
{
    private readonly CpuDevice _device;
    private readonly CpuVariableStore _store;
    private readonly Dictionary<MemoryClass, NativeBuffer> _arenas = [];
    private readonly Dictionary<MemoryClass, long> _allocated = [];
    private readonly Dictionary<string, (nint Pointer, long Bytes)> _inputs = [];
    private readonly Dictionary<string, (nint Pointer, long Bytes)> _outputs = [];
    private readonly CpuKernel[] _kernels;
    private readonly bool[] _once;

    public CpuExecutable(CpuDevice device, ExecutionPlan plan, CpuVariableStore store)
    {
        (_device, _store) = (device, store);
        Plan = plan;
        foreach (var (memoryClass, bytes) in plan.ArenaBytes)
        {
            var (arena, isNew) = ScratchPool.IsShared(memoryClass)
                ? store.Scratch.Rent(memoryClass, bytes, plan.Program.Name)
                : (new NativeBuffer(bytes), true);
            _arenas[memoryClass] = arena;
            _allocated[memoryClass] = isNew ? bytes : 0;
        }

        nint At(Placement p) => (nint)((p.Variable is null ? _arenas[p.Class].Pointer : store.Pointer(p.Variable)) + p.Offset);
        foreach (var variable in plan.Program.Variables) store.Pointer(variable);
        foreach (var input in plan.Program.Inputs) _inputs[TensorProgram.InputName(input)] = (At(plan.Placements[input]), input.Type.Bytes);
        foreach (var output in plan.Program.Outputs) _outputs[output.Name] = (At(plan.Placements[output.Tensor]), output.Tensor.Type.Bytes);

        var workspace = _arenas.TryGetValue(MemoryClass.Workspace, out var scratch) ? (nint)scratch.Pointer : 0;
        _kernels = new CpuKernel[plan.Launches.Count];
        _once = new bool[_kernels.Length];
        for (var i = 0; i < _kernels.Length; i++)
        {
            var launch = plan.Launches[i];
            _kernels[i] = device.NewKernel(launch.Node);
            _kernels[i].Bind([.. launch.Inputs.Select(At)], [.. launch.Outputs.Select(At)], workspace);
            // Constants keep their place, so they are filled here once and not at every run.
            _once[i] = launch.Node.Op is Leaf;
            if (_once[i]) _kernels[i].Run(device.Pool);
        }
    }

    public ExecutionPlan Plan { get; }

    public IReadOnlyDictionary<MemoryClass, long> AllocatedBytes => _allocated;

    public void Write(string input, ReadOnlySpan<byte> bytes)
    {
        var (pointer, length) = Find(_inputs, input, "input", bytes.Length);
        bytes.CopyTo(new Span<byte>((void*)pointer, (int)length));
    }

    public void Run()
    {
        for (var i = 0; i < _kernels.Length; i++)
        {
            if (!_once[i]) _kernels[i].Run(_device.Pool);
        }
    }

    public void RunTimed(Span<double> seconds)
    {
        for (var i = 0; i < _kernels.Length; i++)
        {
            if (_once[i]) continue;
            var start = Stopwatch.GetTimestamp();
            _kernels[i].Run(_device.Pool);
            seconds[i] += Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
    }

    public void Read(string output, Span<byte> bytes)
    {
        var (pointer, length) = Find(_outputs, output, "output", bytes.Length);
        new ReadOnlySpan<byte>((void*)pointer, (int)length).CopyTo(bytes);
    }

    public void Dispose()
    {
        foreach (var (memoryClass, arena) in _arenas)
        {
            if (ScratchPool.IsShared(memoryClass)) _store.Scratch.Return(arena);
            else arena.Dispose();
        }

        _arenas.Clear();
    }

    private (nint Pointer, long Bytes) Find(Dictionary<string, (nint Pointer, long Bytes)> table, string name, string what, int bytes)
    {
        if (!table.TryGetValue(name, out var place))
            throw new ArgumentException($"The program '{Plan.Program.Name}' has no {what} '{name}'; it has: {string.Join(", ", table.Keys)}.");
        if (place.Bytes != bytes)
            throw new ArgumentException($"The {what} '{name}' of '{Plan.Program.Name}' has {place.Bytes} bytes, but {bytes} were given.");
        return place;
    }
}
