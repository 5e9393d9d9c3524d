using System.Runtime.InteropServices;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// Owner of one native object that belongs to a context. It keeps the context alive, is released once however often it is
/// disposed, and when the release fails records the error for the context's next synchronisation instead of throwing.
/// </summary>
public abstract class CudaResource : SafeHandle
{
    private protected CudaResource(CudaContext context, nint handle) : base(0, ownsHandle: true)
    {
        Context = context;
        // An owner of nothing (zero bytes) is never released, so it must not hold the context either.
        if (handle != 0)
            context.AddReference();
        SetHandle(handle);
    }

    /// <summary>The context this belongs to.</summary>
    public CudaContext Context { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The native handle; throws when disposed.</summary>
    private protected nint Live
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    /// <summary>Gives the native object back; the context is current.</summary>
    private protected abstract CUresult Release(nint value);

    /// <summary>What the release is called in an error.</summary>
    private protected abstract string ReleaseCall { get; }

    /// <inheritdoc/>
    protected sealed override bool ReleaseHandle()
    {
        // Runs on the finaliser's thread too, which has no current context of its own.
        var status = Context.TryMakeCurrent();
        if (status == CUresult.CUDA_SUCCESS)
            status = Release(handle);
        if (status != CUresult.CUDA_SUCCESS)
            Context.Defer(status, ReleaseCall);
        Context.ReleaseReference();
        return status == CUresult.CUDA_SUCCESS;
    }
}
