using GpuEngine.Cuda;

namespace GpuEngine.Tests.Cuda;

/// <summary>The CUDA device of one class of tests. Compiled kernels are kept between runs of the tests.</summary>
public sealed class DeviceUnderTest : IDisposable
{
    private CudaDevice? _shared;

    /// <summary>Where compiled kernels are kept; the key holds the simulator's hash, so a stale one is never used.</summary>
    public static string CacheFolder { get; } = FindCacheFolder();

    /// <summary>The device, opened at the first use; skips the calling test where there is none.</summary>
    public CudaDevice Shared => _shared ??= Open();

    /// <summary>Opens a device of its own, or skips the calling test with the reason.</summary>
    public static CudaDevice Open(CudaDeviceOptions? options = null)
    {
        CudaUnderTest.Require();
        return new CudaDevice(0, options ?? new CudaDeviceOptions { KernelCacheFolder = CacheFolder });
    }

    public void Dispose() => _shared?.Dispose();

    private static string FindCacheFolder()
    {
        var folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "GpuEngine.sln"))) folder = Path.GetDirectoryName(folder);
        return Path.Combine(folder ?? Path.GetTempPath(), "artifacts", "kernel-cache");
    }
}
