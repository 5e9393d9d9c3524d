using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;

namespace GpuEngine.Lab;

/// <summary>Opens a device by name.</summary>
public static class Device
{
    /// <summary>Names that <see cref="Open"/> takes.</summary>
    public static IReadOnlyList<string> Names { get; } = ["auto", "cpu", "cuda", "sim"];

    /// <param name="name">auto, cpu, cuda or sim; auto takes cuda where there is one, else the CPU.</param>
    /// <param name="threads">CPU threads; 0 takes all.</param>
    /// <exception cref="UserException">The name is unknown or the device is not there.</exception>
    public static IDevice Open(string name, int threads = 0)
    {
        if (threads < 0) throw new UserException($"--threads must be at least 1, but is {threads}.");
        return name switch
        {
            "auto" or "cpu" => new CpuDevice(threads),
            "cuda" or "sim" => throw new UserException($"The device '{name}' is not part of this build yet; use --device cpu."),
            _ => throw new UserException(NearestName.Sentence("device", name, Names)),
        };
    }
}
