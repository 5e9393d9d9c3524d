using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Cpu;

internal sealed unsafe class CpuVariableStore : IVariableStore
{
    private readonly Dictionary<Variable, NativeBuffer> _buffers = [];

    /// <summary>What plans share that are loaded with this store.</summary>
    public ScratchPool<NativeBuffer> Scratch { get; } = new((bytes, _) => new NativeBuffer(bytes));

    public IReadOnlyDictionary<MemoryClass, long> AllocatedBytes =>
        _buffers.GroupBy(b => b.Key.MemoryClass).ToDictionary(g => g.Key, g => g.Sum(b => b.Value.Bytes));

    public byte* Pointer(Variable variable)
    {
        if (!_buffers.TryGetValue(variable, out var buffer))
            _buffers[variable] = buffer = new NativeBuffer(ExecutionPlan.Aligned(variable.Type.Bytes, NativeBuffer.Alignment));
        return buffer.Pointer;
    }

    public void Write(Variable variable, ReadOnlySpan<byte> bytes)
    {
        CheckLength(variable, bytes.Length);
        bytes.CopyTo(new Span<byte>(Pointer(variable), bytes.Length));
    }

    public void Read(Variable variable, Span<byte> bytes)
    {
        CheckLength(variable, bytes.Length);
        new ReadOnlySpan<byte>(Pointer(variable), bytes.Length).CopyTo(bytes);
    }

    public void Dispose()
    {
        foreach (var buffer in _buffers.Values) buffer.Dispose();
        _buffers.Clear();
    }

    private static void CheckLength(Variable variable, int bytes)
    {
        if (bytes != variable.Type.Bytes)
            throw new ArgumentException($"The variable {variable} has {variable.Type.Bytes} bytes, but {bytes} were given.");
    }
}
