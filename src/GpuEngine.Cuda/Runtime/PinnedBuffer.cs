using System.Runtime.CompilerServices;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>Page-locked host memory: the staging place of asynchronous copies.</summary>
public sealed unsafe class PinnedBuffer<T> : CudaResource where T : unmanaged
{
    private PinnedBuffer(CudaContext context, nint pointer, int length) : base(context, pointer) => Length = length;

    /// <summary>Elements.</summary>
    public int Length { get; }

    /// <summary>
    /// The elements. A copy that was started from or to them may still be under way: wait for its stream or event first.
    /// </summary>
    public Span<T> Span => new((void*)Live, Length);

    internal void* Address => (void*)Live;

    internal static PinnedBuffer<T> Create(CudaContext context, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        context.EnsureCurrent();
        var bytes = (long)length * Unsafe.SizeOf<T>();
        var status = CuDriver.cuMemHostAlloc(out var pointer, (nuint)bytes, flags: 0);
        status.ThrowIfFailed($"cuMemHostAlloc({bytes} bytes of page-locked host memory)");
        return new(context, pointer, length);
    }

    private protected override string ReleaseCall => "cuMemFreeHost";

    private protected override CUresult Release(nint value) => CuDriver.cuMemFreeHost(value);
}
