using System.Diagnostics;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Tests.Cuda;
using Xunit;

// Before any test: a process uses either the simulator or real devices, and whoever touches CUDA first decides.
[assembly: AssemblyFixture(typeof(CudaUnderTest))]

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// Chooses what the tests of the CUDA runtime run on: the simulator, or with <c>GPUENGINE_TEST_DEVICE=cuda</c> a real device, or
/// with <c>none</c> whatever the search for libraries finds.
/// <c>GPUENGINE_REQUIRE=sim</c> (or cuda) turns the skips for a missing one into failures.
/// </summary>
public sealed class CudaUnderTest
{
    /// <summary>Names the device under test.</summary>
    public const string DeviceVariable = "GPUENGINE_TEST_DEVICE";

    private static readonly string Wanted = Environment.GetEnvironmentVariable(DeviceVariable) ?? "sim";

    /// <summary>The simulator's file: $GPUENGINE_CUDASIM, else the one built from this repository, else null.</summary>
    public static string? SimulatorFile { get; } = FindSimulator();

    public CudaUnderTest()
    {
        if (Wanted != "sim" || SimulatorFile is not { } file) return;
        NativeLibraries.UseSimulator(file);
        // The second one is for copies between devices; everything else takes the first.
        _ = Cudasim.cudasim_set_option("devices", "2");
    }

    /// <summary>Skips the calling test unless there is something to run kernels on.</summary>
    public static void Require()
    {
        if (Wanted == "cuda")
        {
            Demand(NativeLibraries.IsAvailable(CudaLibrary.Driver), "cuda", "There is no CUDA driver on this machine.");
            return;
        }

        RequireSimulator();
    }

    /// <summary>Skips the calling test unless the simulator is in use: for faults that real devices cannot be asked for.</summary>
    public static void RequireSimulator() => Demand(
        NativeLibraries.IsSimulated, "sim",
        "The simulator is not built: run tools/cudasim/build.sh (needs g++ or clang++), or name the file in GPUENGINE_CUDASIM.");

    private static void Demand(bool available, string what, string reason)
    {
        if (!available && Environment.GetEnvironmentVariable("GPUENGINE_REQUIRE") == what)
            Assert.Fail($"GPUENGINE_REQUIRE={what}: {reason}");
        Assert.SkipUnless(available, reason);
    }

    private static string? FindSimulator()
    {
        if (Environment.GetEnvironmentVariable(Simulator.PathVariable) is { Length: > 0 } named)
            return named;
        var root = AppContext.BaseDirectory;
        while (root is not null && !File.Exists(Path.Combine(root, "GpuEngine.sln")))
            root = Path.GetDirectoryName(root);
        if (root is null || !OperatingSystem.IsLinux())
            return null;
        var script = Path.Combine(root, "tools", "cudasim", "build.sh");
        return File.Exists(script) ? Build(script) : null;
    }

    /// <summary>Builds what has changed; the last line of the script's output is the file.</summary>
    private static string? Build(string script)
    {
        using var build = Process.Start(new ProcessStartInfo("bash", [script])
        {
            RedirectStandardOutput = true,
        });
        var output = build!.StandardOutput.ReadToEnd();
        build.WaitForExit();
        return build.ExitCode == 0 ? output.TrimEnd().Split('\n')[^1] : null;
    }
}
