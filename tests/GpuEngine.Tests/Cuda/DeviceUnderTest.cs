using System.Runtime.InteropServices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;
using GpuEngine.Lab.Kernels;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The CUDA device of one class of tests; on the simulator with memory and race checking. Compiled kernels are kept between
/// runs of the tests.
/// </summary>
public sealed unsafe class DeviceUnderTest : IDisposable
{
    private CudaDevice? _shared;
    private bool _ahead;

    /// <summary>Where compiled kernels are kept; the key holds the simulator's hash, so a stale one is never used.</summary>
    public static string CacheFolder { get; } = FindCacheFolder();

    /// <summary>The device, opened at the first use; skips the calling test where there is none.</summary>
    public CudaDevice Shared => _shared ??= OpenChecked();

    /// <summary>Opens a device of its own, or skips the calling test with the reason.</summary>
    public static CudaDevice Open(CudaDeviceOptions? options = null)
    {
        CudaUnderTest.Require();
        return new CudaDevice(0, options ?? new CudaDeviceOptions { KernelCacheFolder = CacheFolder });
    }

    /// <summary>
    /// Compiles what the device plans for all samples of some ops, values and gradients, on all cores; by the first test of a class only. One
    /// by one, as they are needed, they would keep one core busy.
    /// </summary>
    public void CompileAhead(IEnumerable<OpSpec> ops, params IEnumerable<DType> dtypes)
    {
        if (_ahead) return;
        _ahead = true;
        Shared.Library.Compile(
            from spec in ops
            from dtype in dtypes
            from sample in spec.Samples
            from launch in KernelVariants.Plan(spec, sample, dtype, Shared).Launches
            from request in CudaKernels.Create(launch.Node, Shared.Limits)?.Requests ?? []
            select request);
    }

    /// <summary>Fails the calling test when the simulator's checks have found something, and forgets it.</summary>
    public void AssertNothingFound()
    {
        if (_shared is null || !NativeLibraries.IsSimulated) return;
        var findings = Cudasim.cudasim_finding_count(null);
        if (findings == 0) return;
        var text = Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_findings_json());
        Cudasim.cudasim_findings_clear();
        Assert.Fail($"{findings} findings: {text}");
    }

    public void Dispose()
    {
        if (_shared is null) return;
        _shared.Dispose();
        if (NativeLibraries.IsSimulated) _ = Cudasim.cudasim_set_option("check", "none");
    }

    private static CudaDevice OpenChecked()
    {
        CudaUnderTest.Require();
        if (NativeLibraries.IsSimulated) Assert.Equal(0, Cudasim.cudasim_set_option("check", "memory,race"));
        return Open();
    }

    private static string FindCacheFolder()
    {
        // The parts of the GPU bundle share one.
        if (Environment.GetEnvironmentVariable(KernelCache.FolderVariable) is { Length: > 0 } chosen) return chosen;
        var folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "GpuEngine.sln"))) folder = Path.GetDirectoryName(folder);
        return Path.Combine(folder ?? Path.GetTempPath(), "artifacts", "kernel-cache");
    }
}
