using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// A named range on the timeline of Nsight: <c>using var range = ProfilerRange.Open("forward\0"u8);</c>. Where NVTX is not
/// installed it does nothing; <see cref="Provider"/> says which.
/// </summary>
public readonly ref struct ProfilerRange
{
    private readonly bool _open;

    private ProfilerRange(bool open) => _open = open;

    /// <summary>One sentence: whether ranges are recorded and by which file.</summary>
    public static string Provider => Nvtx.IsAvailable
        ? $"Ranges go to {NativeLibraries.Resolve(CudaLibrary.Nvtx).Path}."
        : "Ranges are not recorded: no NVTX library was found.";

    /// <summary>Opens a range.</summary>
    /// <param name="name">UTF-8 that ends with a zero byte.</param>
    public static ProfilerRange Open(ReadOnlySpan<byte> name)
    {
        if (name.IsEmpty || name[^1] != 0)
            throw new ArgumentException("The name of a range must end with a zero byte.", nameof(name));
        Nvtx.nvtxRangePushA(name);
        return new(open: true);
    }

    /// <summary>Closes the range; a range that was never opened closes nothing.</summary>
    public void Dispose()
    {
        if (_open)
            Nvtx.nvtxRangePop();
    }
}
