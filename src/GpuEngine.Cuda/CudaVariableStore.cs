using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda;

/// <summary>
/// Variables in device memory: those that a plan brings along share one allocation per memory class, in the plan's order; one
/// that is named before any plan gets its own.
/// </summary>
internal sealed class CudaVariableStore(CudaDevice device) : IVariableStore
{
    private readonly Dictionary<Variable, DevicePointer> _places = [];
    private readonly List<(MemoryClass Class, DeviceMemory Memory)> _chunks = [];

    /// <summary>What plans share that are loaded with this store.</summary>
    public ScratchPool<DeviceMemory> Scratch { get; } = new(device.AllocateZeroed);

    public IReadOnlyDictionary<MemoryClass, long> AllocatedBytes =>
        _chunks.GroupBy(c => c.Class).ToDictionary(g => g.Key, g => g.Sum(c => c.Memory.Bytes));

    public DevicePointer Pointer(Variable variable)
    {
        if (!_places.ContainsKey(variable)) Reserve([variable]);
        return _places[variable];
    }

    /// <summary>Gives zeroed storage to the variables that have none yet.</summary>
    public void Reserve(IEnumerable<Variable> variables)
    {
        foreach (var group in variables.Where(v => !_places.ContainsKey(v)).GroupBy(v => v.MemoryClass))
        {
            var bytes = group.Sum(Bytes);
            var memory = device.Context.Allocate(bytes, group.Key.ToString().ToLowerInvariant());
            _chunks.Add((group.Key, memory));
            device.Stream.FillBytes(memory.Span<byte>(), 0);
            var at = memory.Address;
            foreach (var variable in group)
            {
                _places[variable] = at;
                at += Bytes(variable);
            }
        }
    }

    public void Write(Variable variable, ReadOnlySpan<byte> bytes)
    {
        CheckLength(variable, bytes.Length);
        device.Stream.CopyToDevice(bytes, new DeviceSpan<byte>(Pointer(variable), bytes.Length));
    }

    public void Read(Variable variable, Span<byte> bytes)
    {
        CheckLength(variable, bytes.Length);
        device.Stream.CopyToHost(new ReadOnlyDeviceSpan<byte>(Pointer(variable), bytes.Length), bytes);
    }

    public void Dispose()
    {
        // Runs in flight may still use the memory.
        if (_chunks.Count > 0) device.Drain();
        foreach (var (_, memory) in _chunks) memory.Dispose();
        _chunks.Clear();
        _places.Clear();
    }

    private long Bytes(Variable variable) => ExecutionPlan.Aligned(variable.Type.Bytes, device.Target.Alignment);

    private static void CheckLength(Variable variable, int bytes)
    {
        if (bytes != variable.Type.Bytes)
            throw new ArgumentException($"The variable {variable} has {variable.Type.Bytes} bytes, but {bytes} were given.");
    }
}
