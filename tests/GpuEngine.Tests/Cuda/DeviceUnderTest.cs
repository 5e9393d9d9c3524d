using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The CUDA device that tests run on: a real one when GPUENGINE_REQUIRE=cuda asks for it, else the simulator, which is built
/// on the first use where a C++ compiler is present. A process uses one or the other, and one thread at a time.
/// </summary>
public sealed unsafe class DeviceUnderTest : IDisposable
{
    private static readonly string Required = Environment.GetEnvironmentVariable("GPUENGINE_REQUIRE") ?? "";
    private static readonly Lazy<string?> Obstacle = new(Prepare);

    /// <summary>Compiled kernels of earlier runs; the key holds the simulator's hash, so a stale one is never used.</summary>
    public static string CacheFolder { get; } = Path.Combine(Root() ?? Path.GetTempPath(), "artifacts", "kernel-cache");

    public static bool IsSimulated => NativeLibraries.IsSimulated;

    private CudaDevice? _shared;

    /// <summary>One device for all tests of a class.</summary>
    public CudaDevice Shared => _shared ??= Open();

    /// <summary>Opens a device, or skips the calling test with the reason.</summary>
    public static CudaDevice Open(CudaDeviceOptions? options = null)
    {
        Need();
        return new CudaDevice(0, options ?? new CudaDeviceOptions { KernelCacheFolder = CacheFolder });
    }

    /// <summary>Skips the calling test where there is no device to test.</summary>
    public static void Need()
    {
        if (Obstacle.Value is not { } reason) return;
        Assert.False(Required.Length > 0, $"GPUENGINE_REQUIRE={Required}, but {reason}");
        Assert.Skip(reason);
    }

    /// <summary>Skips the calling test on real hardware.</summary>
    public static void NeedSimulator()
    {
        Need();
        Assert.SkipUnless(IsSimulated, "This test injects faults, which only the simulator can; unset GPUENGINE_REQUIRE=cuda.");
    }

    /// <summary>Sets an option of the simulator.</summary>
    public static void Set(string option, string value)
    {
        var call = (delegate* unmanaged<byte*, byte*, int>)NativeLibrary.GetExport(Handle(), "cudasim_set_option");
        fixed (byte* name = Encoding.UTF8.GetBytes(option + '\0'), text = Encoding.UTF8.GetBytes(value + '\0'))
            Assert.Equal(0, call(name, text));
    }

    /// <summary>What the simulator's checks have found so far, and forgets it.</summary>
    public static (ulong Count, string Json) TakeFindings()
    {
        var count = ((delegate* unmanaged<byte*, ulong>)NativeLibrary.GetExport(Handle(), "cudasim_finding_count"))(null);
        var json = Marshal.PtrToStringUTF8((nint)((delegate* unmanaged<byte*>)NativeLibrary.GetExport(Handle(), "cudasim_findings_json"))());
        ((delegate* unmanaged<void>)NativeLibrary.GetExport(Handle(), "cudasim_findings_clear"))();
        return (count, json ?? "");
    }

    public void Dispose() => _shared?.Dispose();

    private static nint Handle() => NativeLibrary.Load(NativeLibraries.SimulatorPath!);

    /// <summary>Makes a device available; the reason why there is none, or null.</summary>
    private static string? Prepare()
    {
        if (Required.Contains("cuda", StringComparison.Ordinal))
            return NativeLibraries.IsAvailable(CudaLibrary.Driver) ? null : "there is no CUDA driver.";
        if (Simulator.Find() is null || Root() is not null)
        {
            if (Build() is { } failure) return failure;
        }

        Simulator.Use();
        return null;
    }

    // Runs also where the library exists already: the script compiles only what has changed.
    private static string? Build()
    {
        var script = Path.Combine(Root() ?? "", "tools", "cudasim", "build.sh");
        if (!File.Exists(script)) return "the simulator is not built and this is no repository; set GPUENGINE_CUDASIM to libcudasim.so.";
        if (OperatingSystem.IsWindows()) return "the simulator needs Linux.";
        try
        {
            using var process = Process.Start(new ProcessStartInfo("bash", script) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            var log = process.StandardError.ReadToEndAsync();
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode == 0) return null;
            return Simulator.Find() is not null && !HasCompiler()
                ? null
                : $"tools/cudasim/build.sh failed (install g++ to run these tests): {log.Result}";
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return "there is no bash to build the simulator with.";
        }
    }

    private static bool HasCompiler() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .Any(folder => File.Exists(Path.Combine(folder, "g++")) || File.Exists(Path.Combine(folder, "clang++")));

    private static string? Root()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "GpuEngine.sln"))) return folder.FullName;
        }

        return null;
    }
}

/// <summary>Tests that use the device run one after the other.</summary>
[CollectionDefinition("cuda device", DisableParallelization = false)]
public sealed class DeviceTests : ICollectionFixture<DeviceUnderTest>;
