using System.Runtime.CompilerServices;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>Owner of one allocation in device memory: an arena of which slices are lent.</summary>
public sealed class DeviceMemory : CudaResource
{
    internal DeviceMemory(CudaContext context, CUdeviceptr pointer, long bytes, string purpose)
        : base(context, (nint)pointer.Value)
    {
        Bytes = bytes;
        Purpose = purpose;
    }

    /// <summary>Size.</summary>
    public long Bytes { get; }

    /// <summary>What it is for, as error messages name it.</summary>
    public string Purpose { get; }

    /// <summary>The first byte.</summary>
    public DevicePointer Address => new((ulong)Live);

    /// <summary>Lends <paramref name="length"/> elements that begin <paramref name="byteOffset"/> bytes in.</summary>
    public DeviceSpan<T> Span<T>(long byteOffset, long length) where T : unmanaged
    {
        var size = Unsafe.SizeOf<T>();
        if (byteOffset % size != 0)
        {
            throw new ArgumentException(
                $"Byte {byteOffset} is not a multiple of the {size} bytes of {typeof(T).Name}.", nameof(byteOffset));
        }

        DeviceRange.Check(byteOffset / size, length, Bytes / size);
        return new(Address + byteOffset, length);
    }

    /// <summary>Lends all of it.</summary>
    public DeviceSpan<T> Span<T>() where T : unmanaged => Span<T>(0, Bytes / Unsafe.SizeOf<T>());

    private protected override string ReleaseCall => $"cuMemFree_v2({Bytes} bytes of {Purpose})";

    private protected override CUresult Release(nint value) => CuDriver.cuMemFree_v2(new((ulong)value));
}
