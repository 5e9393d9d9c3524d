using GpuEngine.Core;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>One library, as doctor shows it.</summary>
/// <param name="Library">Which.</param>
/// <param name="IsRequired">Whether CUDA cannot be used at all without it.</param>
/// <param name="Path">The file in use, or null.</param>
/// <param name="Version">Its version as it tells it, or null.</param>
/// <param name="Tried">Every candidate, in order, with what came of it.</param>
/// <param name="Advice">What to install when it is missing, in one sentence; else null.</param>
public sealed record LibraryReport(
    CudaLibrary Library, bool IsRequired, string? Path, string? Version, IReadOnlyList<LibraryProbe> Tried, string? Advice);

/// <summary>One device, as doctor shows it.</summary>
/// <param name="Properties">What the driver says of it.</param>
/// <param name="FreeBytes">Free memory, or null when no context could be made.</param>
/// <param name="Problem">Why it cannot be used, in one sentence; else null.</param>
public sealed record DeviceReport(CudaDeviceProperties Properties, long? FreeBytes, string? Problem);

/// <summary>What CUDA on this machine looks like to the engine.</summary>
/// <param name="IsSimulated">Whether the simulator stands in for the libraries.</param>
/// <param name="DriverVersion">CUDA version of the driver, such as "12.8", or null.</param>
/// <param name="Libraries">All libraries, found or not.</param>
/// <param name="Devices">All devices.</param>
/// <param name="Profiling">Whether ranges reach a profiler, in one sentence.</param>
/// <param name="IsUsable">Whether <c>--device cuda</c> works.</param>
/// <param name="Verdict">One sentence: what will be used, or what is missing and what to do.</param>
public sealed record DoctorReport(
    bool IsSimulated, string? DriverVersion, IReadOnlyList<LibraryReport> Libraries, IReadOnlyList<DeviceReport> Devices,
    string Profiling, bool IsUsable, string Verdict);

/// <summary>Looks at everything the engine needs of CUDA and says what it found. Never throws for what it finds.</summary>
public static class CudaDoctor
{
    /// <summary>Loads all libraries and opens every device once.</summary>
    public static DoctorReport Collect()
    {
        var libraries = LibraryDescriptor.All.Select(Examine).ToArray();
        var (devices, problem) = Devices();
        var verdict = Verdict(libraries, devices, problem);
        return new DoctorReport(
            NativeLibraries.IsSimulated, libraries[(int)CudaLibrary.Driver].Version, libraries, devices,
            ProfilerRange.Provider, verdict.IsUsable, verdict.Sentence);
    }

    internal static (bool IsUsable, string Sentence) Verdict(
        IReadOnlyList<LibraryReport> libraries, IReadOnlyList<DeviceReport> devices, string? problem)
    {
        foreach (var library in libraries)
        {
            if (library is { IsRequired: true, Path: null, Advice: { } advice })
                return (false, advice);
        }

        if (problem is not null)
            return (false, problem);
        var usable = devices.FirstOrDefault(device => device.Problem is null);
        if (usable is null)
            return (false, devices.Count == 0 ? "The driver finds no device." : devices[0].Problem!);
        var missing = libraries.Where(l => l.Path is null && l.Library != CudaLibrary.Nvtx)
            .Select(l => l.Library.DisplayName()).ToArray();
        var without = missing.Length == 0 ? "" : $", without {string.Join(" and ", missing)}";
        return (true, $"CUDA can be used: device {usable.Properties.Ordinal}, {usable.Properties.Name}, " +
                      $"sm_{usable.Properties.Architecture}{without}.");
    }

    private static LibraryReport Examine(LibraryDescriptor descriptor)
    {
        var resolution = NativeLibraries.Resolve(descriptor.Library);
        return new LibraryReport(
            descriptor.Library, descriptor.Library is CudaLibrary.Driver or CudaLibrary.Nvrtc, resolution.Path,
            resolution.Found ? VersionOf(descriptor.Library) : null, resolution.Probes, resolution.Found ? null : descriptor.Advice);
    }

    /// <summary>The version a library tells without a device; null when it does not or cannot.</summary>
    private static string? VersionOf(CudaLibrary library)
    {
        try
        {
            return library switch
            {
                CudaLibrary.Driver when CuDriver.cuDriverGetVersion(out var driver) == CUresult.CUDA_SUCCESS =>
                    CudaDevices.VersionText(driver),
                CudaLibrary.Nvrtc when Nvrtc.nvrtcVersion(out var major, out var minor) == nvrtcResult.NVRTC_SUCCESS =>
                    $"{major}.{minor}",
                CudaLibrary.Cublas => CublasVersion(),
                CudaLibrary.CublasLt => LibraryVersion((long)CublasLt.cublasLtGetVersion()),
                CudaLibrary.Cudnn => LibraryVersion((long)Cudnn.cudnnGetVersion()),
                CudaLibrary.Nccl when Nccl.ncclGetVersion(out var nccl) == ncclResult_t.ncclSuccess => LibraryVersion(nccl),
                _ => null,
            };
        }
        catch (EntryPointNotFoundException)
        {
            return null;
        }
    }

    private static string? CublasVersion()
    {
        Span<int> parts = stackalloc int[3];
        for (var part = 0; part < parts.Length; part++)
        {
            if (Cublas.cublasGetProperty((libraryPropertyType)part, out parts[part]) != cublasStatus_t.CUBLAS_STATUS_SUCCESS)
                return null;
        }

        return $"{parts[0]}.{parts[1]}.{parts[2]}";
    }

    /// <summary>
    /// major.minor.patch of a packed number: cuBLASLt, cuDNN 9 and NCCL from 2.9 on all pack
    /// major * 10000 + minor * 100 + patch (CUBLAS_VERSION, CUDNN_VERSION, NCCL_VERSION).
    /// </summary>
    internal static string LibraryVersion(long packed) =>
        $"{packed / 10000}.{packed / 100 % 100}.{packed % 100}";

    private static (IReadOnlyList<DeviceReport> Devices, string? Problem) Devices()
    {
        var devices = new List<DeviceReport>();
        try
        {
            for (var ordinal = 0; ordinal < CudaDevices.Count; ordinal++)
                devices.Add(Open(CudaDevices.PropertiesOf(ordinal)));
            return (devices, null);
        }
        catch (Exception exception) when (exception is UserException or CudaException)
        {
            return (devices, exception.Message);
        }
    }

    private static DeviceReport Open(CudaDeviceProperties properties)
    {
        try
        {
            using var context = CudaContext.Open(properties.Ordinal);
            return new DeviceReport(properties, context.MemoryInfo().Free, null);
        }
        catch (CudaException exception)
        {
            return new DeviceReport(properties, null, $"{properties.Name} cannot be opened: {exception.Message}");
        }
    }
}
