using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda;

/// <summary>
/// The way of one input to the device: two page-locked buffers in turn, so that the next batch is written while the last one
/// is still being copied.
/// </summary>
internal sealed class InputStaging : IDisposable
{
    private readonly CudaStream _stream;
    private readonly PinnedBuffer<byte>[] _buffers = new PinnedBuffer<byte>[2];
    private readonly CudaEvent[] _copied = new CudaEvent[2];
    private int _next;

    public InputStaging(CudaStream stream, DevicePointer target, long bytes)
    {
        _stream = stream;
        Target = target;
        Bytes = bytes;
    }

    public DevicePointer Target { get; }

    public long Bytes { get; }

    /// <summary>Queues the values, behind the runs that were queued before.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty) return;
        var slot = _next;
        _next = 1 - _next;
        if (_buffers[slot] is null)
        {
            _buffers[slot] = _stream.Context.AllocatePinned<byte>((int)Bytes);
            _copied[slot] = _stream.Context.CreateEvent();
        }
        else
        {
            _copied[slot].Synchronize();
        }

        bytes.CopyTo(_buffers[slot].Span);
        _stream.CopyToDevice(_buffers[slot], new DeviceSpan<byte>(Target, Bytes));
        _stream.Record(_copied[slot]);
    }

    public void Dispose()
    {
        foreach (var buffer in _buffers) buffer?.Dispose();
        foreach (var copied in _copied) copied?.Dispose();
    }
}
