using GpuEngine.Core;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>Starts the driver and counts its devices.</summary>
public static class CudaDevices
{
    /// <summary>
    /// The oldest driver the bindings fit: cuLaunchKernelEx, cuGetProcAddress_v2 and cuGraphExecUpdate_v2 are of CUDA 12.0.
    /// </summary>
    internal const int OldestDriver = 12000;

    private static readonly Lock Gate = new();
    private static int _driverVersion;

    /// <summary>
    /// Starts the driver if that has not happened and returns the CUDA version it supports: 12080 for 12.8.
    /// </summary>
    /// <exception cref="UserException">No driver, an old one, or no device; the sentence says what to do.</exception>
    /// <exception cref="CudaException">The driver fails in another way.</exception>
    public static int Start()
    {
        lock (Gate)
        {
            if (_driverVersion == 0)
                _driverVersion = StartDriver();
            return _driverVersion;
        }
    }

    /// <summary>Number of devices; starts the driver.</summary>
    public static int Count
    {
        get
        {
            _ = Start();
            CuDriver.cuDeviceGetCount(out var count).ThrowIfFailed();
            return count;
        }
    }

    /// <summary>Properties of one device; starts the driver but makes no context.</summary>
    public static CudaDeviceProperties PropertiesOf(int ordinal) =>
        CudaDeviceProperties.Read(Device(ordinal), ordinal);

    internal static CUdevice Device(int ordinal)
    {
        var count = Count;
        if (ordinal < 0 || ordinal >= count)
        {
            throw new UserException(
                $"There is no CUDA device {ordinal}: this machine has {count}, numbered from 0.");
        }

        CuDriver.cuDeviceGet(out var device, ordinal).ThrowIfFailed();
        return device;
    }

    /// <summary>"12.8" for 12080.</summary>
    internal static string VersionText(int version) => $"{version / 1000}.{version % 1000 / 10}";

    /// <summary>The sentence for a start that failed in a way the user can mend, or null.</summary>
    internal static string? StartAdvice(CUresult status, int driverVersion) => status switch
    {
        CUresult.CUDA_SUCCESS when driverVersion < OldestDriver =>
            $"The CUDA driver supports CUDA {VersionText(driverVersion)} and this engine needs " +
            $"{VersionText(OldestDriver)} or newer: update the NVIDIA driver to version 525 or newer.",
        CUresult.CUDA_ERROR_NO_DEVICE =>
            "The CUDA driver finds no device: check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu or sim.",
        CUresult.CUDA_ERROR_STUB_LIBRARY =>
            "The libcuda that was loaded is the toolkit's stub, not the driver: take the stubs folder off the library path.",
        CUresult.CUDA_ERROR_SYSTEM_DRIVER_MISMATCH =>
            "The CUDA driver library does not match the kernel module: reboot, or reinstall the NVIDIA driver.",
        CUresult.CUDA_ERROR_SYSTEM_NOT_READY =>
            "The CUDA devices are not ready: start nvidia-fabricmanager or wait until it has started.",
        CUresult.CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE =>
            "The forward-compatibility driver does not support this device: use the installed driver's own libcuda.",
        _ => null,
    };

    private static int StartDriver()
    {
        try
        {
            NativeLibraries.Require(CudaLibrary.Driver);
        }
        catch (MissingLibraryException missing)
        {
            throw new UserException(missing.Advice, missing);
        }

        CuDriver.cuDriverGetVersion(out var version).ThrowIfFailed();
        // An old driver is named as such before it can fail in a way that does not tell.
        var status = version < OldestDriver ? CUresult.CUDA_SUCCESS : CuDriver.cuInit(0);
        if (StartAdvice(status, version) is { } advice)
            throw new UserException(advice);
        status.ThrowIfFailed("cuInit(0)");
        return version;
    }
}
