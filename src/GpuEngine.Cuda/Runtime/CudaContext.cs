using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// The primary context of one device: the one every CUDA library in the process shares. Everything made from it keeps it
/// alive. All methods may be called from any thread.
/// </summary>
public sealed class CudaContext : IDisposable
{
    /// <summary>Set to 1 to wait after every launch, so that an error names its kernel. Slow.</summary>
    public const string SyncLaunchesVariable = "GPUENGINE_SYNC_LAUNCHES";

    [ThreadStatic]
    private static nint _threadContext;

    [ThreadStatic]
    private static int _threadGeneration;

    // Raised when a context goes, so that no thread trusts what it remembers about it.
    private static int _generation = 1;

    private readonly PrimaryContext _primary;
    private readonly ConcurrentQueue<CudaException> _deferred = new();

    private CudaContext(PrimaryContext primary, CudaDeviceProperties properties, bool syncLaunches)
    {
        _primary = primary;
        Properties = properties;
        SyncLaunches = syncLaunches;
    }

    /// <summary>The device.</summary>
    public CudaDeviceProperties Properties { get; }

    /// <summary>Whether every launch is waited for. Ignored while a stream captures, where waiting is not allowed.</summary>
    public bool SyncLaunches { get; }

    /// <summary>The CUcontext, for code that shares the process; valid until this is disposed.</summary>
    public nint Handle => Raw.Value;

    internal CUcontext Raw
    {
        get
        {
            ObjectDisposedException.ThrowIf(_primary.IsClosed, this);
            return new(_primary.DangerousGetHandle());
        }
    }

    /// <summary>Retains the primary context of a device.</summary>
    /// <param name="ordinal">The device, from 0.</param>
    /// <param name="syncLaunches">Whether to wait after every launch; null: as the environment says.</param>
    /// <exception cref="Core.UserException">No driver, no such device.</exception>
    /// <exception cref="CudaException">The driver refuses the context.</exception>
    public static CudaContext Open(int ordinal = 0, bool? syncLaunches = null)
    {
        var device = CudaDevices.Device(ordinal);
        var properties = CudaDeviceProperties.Read(device, ordinal);
        CuDriver.cuDevicePrimaryCtxRetain(out var context, device).ThrowIfFailed();
        var sync = syncLaunches ?? Environment.GetEnvironmentVariable(SyncLaunchesVariable) is "1" or "true";
        return new CudaContext(new PrimaryContext(device, context), properties, sync);
    }

    /// <summary>Makes this the calling thread's context, also when other code has changed it behind our back.</summary>
    public void MakeCurrent()
    {
        _threadContext = 0;
        EnsureCurrent();
    }

    /// <summary>Free and total bytes of the device, over all processes.</summary>
    public (long Free, long Total) MemoryInfo()
    {
        EnsureCurrent();
        CuDriver.cuMemGetInfo_v2(out var free, out var total).ThrowIfFailed();
        return ((long)free, (long)total);
    }

    /// <summary>
    /// Allocates device memory, aligned to 256 bytes, contents undefined. Zero bytes make an owner of nothing.
    /// </summary>
    /// <exception cref="OutOfDeviceMemoryException">The device has not enough in one piece.</exception>
    public DeviceMemory Allocate(long bytes, string purpose)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        EnsureCurrent();
        if (bytes == 0)
            return new DeviceMemory(this, default, 0, purpose);
        var status = CuDriver.cuMemAlloc_v2(out var pointer, (nuint)bytes);
        if (status == CUresult.CUDA_ERROR_OUT_OF_MEMORY)
        {
            var (free, total) = MemoryInfo();
            throw new OutOfDeviceMemoryException(Properties.Name, purpose, bytes, free, total);
        }

        status.ThrowIfFailed($"cuMemAlloc_v2({bytes} bytes for {purpose})");
        return new DeviceMemory(this, pointer, bytes, purpose);
    }

    /// <summary>Allocates page-locked host memory, which copies run from and to at full speed and asynchronously.</summary>
    public PinnedBuffer<T> AllocatePinned<T>(int length) where T : unmanaged => PinnedBuffer<T>.Create(this, length);

    /// <summary>Makes a stream that does not wait for the legacy default stream.</summary>
    public CudaStream CreateStream(StreamPriority priority = StreamPriority.Normal) => CudaStream.Create(this, priority);

    /// <summary>Makes an event.</summary>
    /// <param name="timing">Whether it can measure time; one that cannot is cheaper.</param>
    public CudaEvent CreateEvent(bool timing = false) => CudaEvent.Create(this, timing);

    /// <summary>Loads a compiled image.</summary>
    public CudaModule LoadModule(CompiledKernel image) => CudaModule.Load(this, image);

    /// <summary>
    /// Lets kernels of this device read and write the memory of <paramref name="peer"/>; false when the hardware cannot.
    /// </summary>
    public bool TryEnablePeerAccess(CudaContext peer)
    {
        EnsureCurrent();
        CuDriver.cuDeviceCanAccessPeer(out var can, _primary.Device, peer._primary.Device).ThrowIfFailed();
        if (can == 0)
            return false;
        var status = CuDriver.cuCtxEnablePeerAccess(peer.Raw, 0);
        if (status != CUresult.CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED)
            status.ThrowIfFailed("cuCtxEnablePeerAccess");
        return true;
    }

    /// <summary>Waits for all work of the device and reports errors recorded since the last time.</summary>
    public void Synchronize()
    {
        EnsureCurrent();
        CuDriver.cuCtxSynchronize().ThrowIfFailed();
        ThrowDeferred();
    }

    /// <summary>Gives the primary context back. What was made from it stays valid until it is disposed itself.</summary>
    public void Dispose() => _primary.Dispose();

    /// <summary>Throws what failed in a Dispose since the last synchronisation: the first error, the others in its data.</summary>
    internal void ThrowDeferred()
    {
        if (_deferred.IsEmpty)
            return;
        List<CudaException> errors = [];
        while (_deferred.TryDequeue(out var error))
            errors.Add(error);
        if (errors.Count == 1)
            throw errors[0];
        if (errors.Count > 1)
            throw new AggregateException("Several objects could not be released.", errors);
    }

    internal void Defer(CUresult status, string call) =>
        _deferred.Enqueue(CudaException.From(status, call, "It happened while an object was released."));

    /// <summary>Makes this the calling thread's context where it is not; two compares when it is.</summary>
    internal void EnsureCurrent()
    {
        if (_threadContext != _primary.Value || _threadGeneration != Volatile.Read(ref _generation) || _primary.IsClosed)
            SwitchTo();
    }

    internal CUresult TryMakeCurrent()
    {
        if (_threadContext == _primary.Value && _threadGeneration == Volatile.Read(ref _generation))
            return CUresult.CUDA_SUCCESS;
        var status = CuDriver.cuCtxSetCurrent(new(_primary.Value));
        if (status == CUresult.CUDA_SUCCESS)
            (_threadContext, _threadGeneration) = (_primary.Value, Volatile.Read(ref _generation));
        return status;
    }

    internal void AddReference()
    {
        var added = false;
        _primary.DangerousAddRef(ref added);
    }

    internal void ReleaseReference() => _primary.DangerousRelease();

    private void SwitchTo()
    {
        ObjectDisposedException.ThrowIf(_primary.IsClosed, this);
        TryMakeCurrent().ThrowIfFailed("cuCtxSetCurrent");
    }

    /// <summary>One retain of a primary context; released when the last object made from it is.</summary>
    private sealed class PrimaryContext : SafeHandle
    {
        public PrimaryContext(CUdevice device, CUcontext context) : base(0, ownsHandle: true)
        {
            Device = device;
            Value = context.Value;
            SetHandle(context.Value);
        }

        public CUdevice Device { get; }

        /// <summary>The handle, readable also while the last objects are being released.</summary>
        public nint Value { get; }

        public override bool IsInvalid => handle == 0;

        protected override bool ReleaseHandle()
        {
            Interlocked.Increment(ref _generation);
            // Nobody is left to report a failure to.
            return CuDriver.cuDevicePrimaryCtxRelease_v2(Device) == CUresult.CUDA_SUCCESS;
        }
    }
}
