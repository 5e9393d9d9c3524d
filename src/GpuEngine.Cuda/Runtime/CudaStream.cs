using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>How urgent a stream's work is to the device.</summary>
public enum StreamPriority
{
    /// <summary>The default.</summary>
    Normal,

    /// <summary>Runs before other streams' waiting blocks.</summary>
    High,
}

/// <summary>
/// A queue of work on one device. One thread at a time; the work runs in the order it was queued, later than the call.
/// </summary>
[SuppressMessage("Naming", "CA1711", Justification = "A stream of CUDA is a queue; the word is the field's.")]
public sealed unsafe class CudaStream : CudaResource
{
    private readonly RecentLaunches _recent = new();

    private CudaStream(CudaContext context, CUstream stream) : base(context, stream.Value)
    {
    }

    /// <summary>The CUstream, for code that shares the process.</summary>
    public nint Handle => Live;

    /// <summary>Whether all work queued so far is done.</summary>
    public bool IsIdle
    {
        get
        {
            Context.EnsureCurrent();
            var status = CuDriver.cuStreamQuery(Raw);
            if (status is not (CUresult.CUDA_SUCCESS or CUresult.CUDA_ERROR_NOT_READY))
                throw Failure(status, "cuStreamQuery");
            return status == CUresult.CUDA_SUCCESS;
        }
    }

    /// <summary>Whether calls are recorded into a graph instead of run.</summary>
    public bool IsCapturing
    {
        get
        {
            Context.EnsureCurrent();
            CuDriver.cuStreamIsCapturing(Raw, out var status).ThrowIfFailed();
            return status != CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE;
        }
    }

    internal CUstream Raw => new(Live);

    /// <summary>
    /// Waits on the host until all work queued so far is done. Reports what went wrong in it, with the last launches by name,
    /// and what failed in a Dispose since the last time.
    /// </summary>
    public void Synchronize()
    {
        Context.EnsureCurrent();
        var status = CuDriver.cuStreamSynchronize(Raw);
        if (status != CUresult.CUDA_SUCCESS)
            throw Failure(status, "cuStreamSynchronize");
        Context.ThrowDeferred();
    }

    /// <summary>Marks this point of the queue.</summary>
    public void Record(CudaEvent e)
    {
        Context.EnsureCurrent();
        Check(CuDriver.cuEventRecord(e.Raw, Raw), "cuEventRecord");
        e.RecordedOn = this;
    }

    /// <summary>Makes later work wait, on the device, for the mark.</summary>
    public void WaitFor(CudaEvent e)
    {
        Context.EnsureCurrent();
        Check(CuDriver.cuStreamWaitEvent(Raw, e.Raw, 0), "cuStreamWaitEvent");
    }

    /// <summary>
    /// Queues a copy to the device from ordinary memory. The source is read before the call returns. Not for captures.
    /// </summary>
    public void CopyToDevice<T>(ReadOnlySpan<T> source, DeviceSpan<T> destination) where T : unmanaged
    {
        CheckLengths(source.Length, destination.Length);
        if (source.IsEmpty)
            return;
        Context.EnsureCurrent();
        fixed (T* from = source)
            Check(CuDriver.cuMemcpyHtoDAsync_v2(destination.Address.Raw, from, (nuint)destination.Bytes, Raw), "cuMemcpyHtoDAsync_v2");
    }

    /// <summary>Queues a copy to the device; the buffer must stay as it is until the copy has run.</summary>
    public void CopyToDevice<T>(PinnedBuffer<T> source, DeviceSpan<T> destination) where T : unmanaged
    {
        DeviceRange.Check(0, destination.Length, source.Length);
        if (destination.Length == 0)
            return;
        Context.EnsureCurrent();
        Check(CuDriver.cuMemcpyHtoDAsync_v2(destination.Address.Raw, source.Address, (nuint)destination.Bytes, Raw), "cuMemcpyHtoDAsync_v2");
    }

    /// <summary>Copies to ordinary memory, behind all work queued so far, and waits for it.</summary>
    public void CopyToHost<T>(ReadOnlyDeviceSpan<T> source, Span<T> destination) where T : unmanaged
    {
        CheckLengths(source.Length, destination.Length);
        if (!destination.IsEmpty)
        {
            Context.EnsureCurrent();
            fixed (T* to = destination)
            {
                Check(CuDriver.cuMemcpyDtoHAsync_v2(to, source.Address.Raw, (nuint)source.Bytes, Raw), "cuMemcpyDtoHAsync_v2");
                // Inside the fixed block: the array must not move before the copy has run.
                Synchronize();
            }
        }
        else
        {
            Synchronize();
        }
    }

    /// <summary>Queues a copy to page-locked memory; it holds the values once this point of the queue is passed.</summary>
    public void CopyToHost<T>(ReadOnlyDeviceSpan<T> source, PinnedBuffer<T> destination) where T : unmanaged
    {
        DeviceRange.Check(0, source.Length, destination.Length);
        if (source.Length == 0)
            return;
        Context.EnsureCurrent();
        Check(CuDriver.cuMemcpyDtoHAsync_v2(destination.Address, source.Address.Raw, (nuint)source.Bytes, Raw), "cuMemcpyDtoHAsync_v2");
    }

    /// <summary>Queues a copy within the device.</summary>
    public void Copy<T>(ReadOnlyDeviceSpan<T> source, DeviceSpan<T> destination) where T : unmanaged
    {
        CheckLengths(source.Length, destination.Length);
        if (source.Length == 0)
            return;
        Context.EnsureCurrent();
        Check(CuDriver.cuMemcpyDtoDAsync_v2(destination.Address.Raw, source.Address.Raw, (nuint)source.Bytes, Raw), "cuMemcpyDtoDAsync_v2");
    }

    /// <summary>Queues a copy from another device's memory; works with and without peer access.</summary>
    public void CopyFromPeer<T>(CudaContext peer, ReadOnlyDeviceSpan<T> source, DeviceSpan<T> destination)
        where T : unmanaged
    {
        CheckLengths(source.Length, destination.Length);
        if (source.Length == 0)
            return;
        Context.EnsureCurrent();
        Check(CuDriver.cuMemcpyPeerAsync(
            destination.Address.Raw, Context.Raw, source.Address.Raw, peer.Raw, (nuint)source.Bytes, Raw), "cuMemcpyPeerAsync");
    }

    /// <summary>Queues writing one byte value everywhere.</summary>
    public void FillBytes<T>(DeviceSpan<T> destination, byte value) where T : unmanaged
    {
        if (destination.Length == 0)
            return;
        Context.EnsureCurrent();
        Check(CuDriver.cuMemsetD8Async(destination.Address.Raw, value, (nuint)destination.Bytes, Raw), "cuMemsetD8Async");
    }

    /// <summary>Queues writing one 4-byte value everywhere.</summary>
    public void Fill<T>(DeviceSpan<T> destination, T value) where T : unmanaged
    {
        if (Unsafe.SizeOf<T>() != sizeof(uint))
            throw new ArgumentException($"Fill writes 4-byte elements; {typeof(T).Name} has {Unsafe.SizeOf<T>()}.");
        if (destination.Length == 0)
            return;
        Context.EnsureCurrent();
        Check(CuDriver.cuMemsetD32Async(
            destination.Address.Raw, Unsafe.As<T, uint>(ref value), (nuint)destination.Length, Raw), "cuMemsetD32Async");
    }

    /// <summary>
    /// Begins to record the work of this stream, and of streams that wait for its events, into a graph. Finish with
    /// <see cref="CudaGraphCapture.End"/>; disposing the capture before that throws the recording away.
    /// </summary>
    public CudaGraphCapture BeginCapture(CaptureMode mode = CaptureMode.ThreadLocal) => new(this, mode);

    internal static CudaStream Create(CudaContext context, StreamPriority priority)
    {
        context.EnsureCurrent();
        var level = 0;
        if (priority == StreamPriority.High)
            CuDriver.cuCtxGetStreamPriorityRange(out _, out level).ThrowIfFailed();
        CuDriver.cuStreamCreateWithPriority(out var stream, CUstream_flags.CU_STREAM_NON_BLOCKING, level).ThrowIfFailed();
        return new(context, stream);
    }

    /// <summary>Waits for all work queued so far; while capturing, where waiting is not allowed, does nothing.</summary>
    internal CUresult WaitUnlessCapturing()
    {
        // Asking may itself be the first call to hear of a failure, so its status counts like that of the waiting.
        var status = CuDriver.cuStreamIsCapturing(Raw, out var capture);
        var mayWait = status == CUresult.CUDA_SUCCESS && capture == CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE;
        return mayWait ? CuDriver.cuStreamSynchronize(Raw) : status;
    }

    /// <summary>Remembers what was launched, for the message of an error that shows up later.</summary>
    internal void Note(string launch) => _recent.Add(launch);

    /// <summary>An error of the queue's past work, with the names of the last launches.</summary>
    internal CudaException Failure(CUresult status, string call) => CudaException.From(status, call, _recent.Describe());

    private protected override string ReleaseCall => "cuStreamDestroy_v2";

    private protected override CUresult Release(nint value) => CuDriver.cuStreamDestroy_v2(new(value));

    /// <summary>A failure of earlier work surfaces at whatever is called next, so every call on the queue names the last launches.</summary>
    private void Check(CUresult status, string call)
    {
        if (status != CUresult.CUDA_SUCCESS) throw Failure(status, call);
    }

    private static void CheckLengths(long source, long destination)
    {
        if (source != destination)
        {
            throw new ArgumentException(
                $"The source has {source} elements and the destination {destination}; a copy needs equally many.");
        }
    }
}
