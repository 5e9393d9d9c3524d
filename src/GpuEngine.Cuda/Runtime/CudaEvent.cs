using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>A mark in a stream: something to wait for, or a time to measure from.</summary>
public sealed class CudaEvent : CudaResource
{
    private CudaEvent(CudaContext context, CUevent e) : base(context, e.Value)
    {
    }

    /// <summary>Whether the work before the mark is done; true also when it was never recorded.</summary>
    public bool IsComplete
    {
        get
        {
            Context.EnsureCurrent();
            var status = CuDriver.cuEventQuery(Raw);
            if (status != CUresult.CUDA_ERROR_NOT_READY)
                status.ThrowIfFailed("cuEventQuery");
            return status == CUresult.CUDA_SUCCESS;
        }
    }

    internal CUevent Raw => new(Live);

    /// <summary>The stream that it marks a point of, whose launches an error names.</summary>
    internal CudaStream? RecordedOn { get; set; }

    /// <summary>Waits on the host until the work before the mark is done.</summary>
    public void Synchronize()
    {
        Context.EnsureCurrent();
        var status = CuDriver.cuEventSynchronize(Raw);
        if (status != CUresult.CUDA_SUCCESS)
            throw RecordedOn?.Failure(status, "cuEventSynchronize") ?? CudaException.From(status, "cuEventSynchronize");
        Context.ThrowDeferred();
    }

    /// <summary>Milliseconds on the device since <paramref name="start"/>; both events must have timing and be complete.</summary>
    public float MillisecondsSince(CudaEvent start)
    {
        Context.EnsureCurrent();
        CuDriver.cuEventElapsedTime(out var milliseconds, start.Raw, Raw).ThrowIfFailed();
        return milliseconds;
    }

    internal static CudaEvent Create(CudaContext context, bool timing)
    {
        context.EnsureCurrent();
        var flags = timing ? CUevent_flags.CU_EVENT_DEFAULT : CUevent_flags.CU_EVENT_DISABLE_TIMING;
        CuDriver.cuEventCreate(out var e, flags).ThrowIfFailed();
        return new(context, e);
    }

    private protected override string ReleaseCall => "cuEventDestroy_v2";

    private protected override CUresult Release(nint value) => CuDriver.cuEventDestroy_v2(new(value));
}
