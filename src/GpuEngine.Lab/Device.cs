using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab;

/// <summary>Opens a device by name.</summary>
public static class Device
{
    /// <summary>Names that <see cref="Open"/> takes.</summary>
    public static IReadOnlyList<string> Names { get; } = ["auto", "cpu", "cuda", "sim"];

    /// <param name="name">auto, cpu, cuda or sim; auto takes cuda where there is one, else the CPU.</param>
    /// <param name="threads">CPU threads; 0 takes all.</param>
    /// <param name="allowTf32">Whether products of f32 matrices may be rounded to TF32; a device without TF32 multiplies in f32.</param>
    /// <exception cref="UserException">The name is unknown or the device is not there.</exception>
    public static IDevice Open(string name, int threads = 0, bool allowTf32 = false)
    {
        if (threads < 0) throw new UserException($"--threads must be at least 1, but is {threads}.");
        switch (name)
        {
            case "auto":
                return HasCuda() ? new CudaDevice(options: Options(allowTf32)) : new CpuDevice(threads);
            case "cpu":
                return new CpuDevice(threads);
            case "cuda":
                return new CudaDevice(options: Options(allowTf32));
            case "sim":
                Simulator.Use();
                return new CudaDevice(options: Options(allowTf32));
            default:
                throw new UserException(NearestName.Sentence("device", name, Names));
        }
    }

    /// <summary>
    /// What plans are made for: the device itself, or where --device cuda is asked for and there is none, an H200 with its libraries, of which
    /// nothing but its sizes is needed.
    /// </summary>
    /// <exception cref="UserException">The name is unknown or the device is not there.</exception>
    public static PlanningDevice ForPlanning(string name, int threads = 0, bool allowTf32 = false)
    {
        if (name != "cuda" || HasCuda()) return new PlanningDevice(Open(name, threads, allowTf32), null);
        var limits = new CudaLimits { HasCublas = true, HasCublasLt = true, HasCudnn = true, AllowTf32 = allowTf32 };
        return new PlanningDevice(null, new CudaPlanTarget(limits, Options(allowTf32)));
    }

    private static CudaDeviceOptions Options(bool allowTf32) => new() { AllowTf32 = allowTf32, Warn = text => Console.Error.WriteLine(text) };

    /// <summary>Whether a CUDA device and the compiler for its kernels are there; finding out must not fail.</summary>
    private static bool HasCuda()
    {
        // The simulator is for proof and must be asked for by name.
        if (NativeLibraries.IsSimulated || !NativeLibraries.IsAvailable(CudaLibrary.Driver) || !NativeLibraries.IsAvailable(CudaLibrary.Nvrtc)) return false;
        try
        {
            return CudaDevices.Count > 0;
        }
        catch (Exception exception) when (exception is UserException or CudaException)
        {
            return false;
        }
    }
}

/// <summary>A device to plan for, opened or imagined.</summary>
public sealed class PlanningDevice : IDisposable
{
    private readonly IDevice? _device;

    internal PlanningDevice(IDevice? device, IPlanTarget? target) => (_device, Target) = (device, target ?? device!.Target);

    public IPlanTarget Target { get; }

    /// <summary>True when the device is not here: plans are made for an H200 then.</summary>
    public bool IsImagined => _device is null;

    public void Dispose() => _device?.Dispose();
}
