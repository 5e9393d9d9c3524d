namespace GpuEngine.Cuda.Interop;

/// <summary>
/// NVTX ranges. The functions are looked up instead of imported because the library is optional: NVTX 3 is a header, and
/// only some installations have it as a shared library (libnvtx3interop from CUDA 12.9 on, libnvToolsExt up to 12.8).
/// </summary>
internal static unsafe class Nvtx
{
    public const string Library = "nvtx";

    private static readonly delegate* unmanaged<byte*, int> PushAddress =
        (delegate* unmanaged<byte*, int>)NativeLibraries.FindExport(CudaLibrary.Nvtx, "nvtxRangePushA");

    private static readonly delegate* unmanaged<int> PopAddress =
        (delegate* unmanaged<int>)NativeLibraries.FindExport(CudaLibrary.Nvtx, "nvtxRangePop");

    public static bool IsAvailable => PushAddress is not null && PopAddress is not null;

    /// <summary>Opens a range; <paramref name="name"/> is UTF-8 that ends with a zero byte. Does nothing without NVTX.</summary>
    public static void nvtxRangePushA(ReadOnlySpan<byte> name)
    {
        if (!IsAvailable)
            return;
        fixed (byte* text = name)
            _ = PushAddress(text);
    }

    /// <summary>Closes the innermost range of this thread.</summary>
    public static void nvtxRangePop()
    {
        if (IsAvailable)
            _ = PopAddress();
    }
}
