using System.Diagnostics;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// What a process meets that starts CUDA on a machine where something is missing. Which libraries are loaded belongs to the
/// process, so each case runs in one of its own: this program again, with one test and other variables.
/// </summary>
public class StartTests
{
    private const string ReportVariable = "GPUENGINE_TEST_START_REPORT";

    [Fact]
    public void A_driver_that_is_not_there_is_a_sentence()
    {
        var report = Run((CudaUnderTest.DeviceVariable, "none"), ("GPUENGINE_LIBCUDA", "/nowhere/libcuda.so.1"));
        Assert.StartsWith("UserException: CUDA driver cannot be loaded from '/nowhere/libcuda.so.1'", report["start"]);
        // An import throws what the resolver threw, not the runtime's own words about a missing file.
        Assert.StartsWith("MissingLibraryException: ", report["import"]);
        Assert.StartsWith("False: ", report["doctor"]);
    }

    [Fact]
    public void Nvrtc_that_is_not_there_is_a_sentence()
    {
        CudaUnderTest.RequireSimulator();
        var report = Run(
            (CudaUnderTest.DeviceVariable, "none"), ("GPUENGINE_LIBCUDA", CudaUnderTest.SimulatorFile!),
            ("GPUENGINE_LIBNVRTC", "/nowhere/libnvrtc.so.12"));
        Assert.Equal("ok", report["start"]);
        Assert.StartsWith("UserException: NVRTC cannot be loaded from '/nowhere/libnvrtc.so.12'", report["compiler"]);
        Assert.StartsWith("False: NVRTC", report["doctor"]);
    }

    [Theory]
    [InlineData("CUDASIM_NO_DRIVER", "1", "UserException: The CUDA driver finds no device")]
    [InlineData("CUDASIM_NO_DRIVER", "803", "UserException: The CUDA driver library does not match the kernel module")]
    [InlineData("CUDASIM_NO_DRIVER", "999", "CudaException: cuInit(0) failed: CUDA_ERROR_UNKNOWN")]
    [InlineData("CUDASIM_DRIVER_VERSION", "11040", "UserException: The CUDA driver supports CUDA 11.4")]
    public void A_driver_that_does_not_start_is_a_sentence(string variable, string value, string expected)
    {
        CudaUnderTest.RequireSimulator();
        var report = Run((variable, value));
        Assert.StartsWith(expected, report["start"]);
        Assert.StartsWith("False: ", report["doctor"]);
    }

    [Fact]
    public void A_machine_where_everything_is_there_is_usable()
    {
        CudaUnderTest.RequireSimulator();
        var report = Run();
        Assert.Equal("ok", report["start"]);
        Assert.Equal("ok", report["compiler"]);
        Assert.StartsWith("True: CUDA can be used: device 0, ", report["doctor"]);
    }

    /// <summary>The other side: runs in the process of its own and writes what it met.</summary>
    [Fact(Explicit = true)]
    public void Report()
    {
        var file = Environment.GetEnvironmentVariable(ReportVariable);
        Assert.NotNull(file);
        File.WriteAllLines(file,
        [
            $"import={Outcome(() => CuDriver.cuDriverGetVersion(out _).ThrowIfFailed())}",
            $"start={Outcome(() => CudaDevices.Start())}",
            $"compiler={Outcome(() => Assert.NotEmpty(new NvrtcCompiler().Identity))}",
            $"doctor={Doctor()}",
        ]);

        static string Doctor()
        {
            var report = CudaDoctor.Collect();
            Assert.Equal(Enum.GetValues<CudaLibrary>(), report.Libraries.Select(l => l.Library));
            Assert.All(report.Libraries, l => Assert.True(l.Path is not null || l.Advice is not null));
            Assert.DoesNotContain('\n', report.Verdict);
            return $"{report.IsUsable}: {report.Verdict}";
        }
    }

    private static string Outcome(Action action)
    {
        try
        {
            action();
            return "ok";
        }
        catch (Exception exception)
        {
            return $"{exception.GetType().Name}: {exception.Message.ReplaceLineEndings(" ")}";
        }
    }

    private static Dictionary<string, string> Run(params (string Name, string Value)[] variables)
    {
        var file = Path.GetTempFileName();
        try
        {
            var host = Environment.ProcessPath!;
            var start = new ProcessStartInfo(host) { RedirectStandardOutput = true, RedirectStandardError = true };
            if (Path.GetFileNameWithoutExtension(host) == "dotnet")
                start.ArgumentList.Add(typeof(StartTests).Assembly.Location);
            start.ArgumentList.Add("--explicit");
            start.ArgumentList.Add("only");
            start.ArgumentList.Add("--filter-method");
            start.ArgumentList.Add($"{typeof(StartTests).FullName}.{nameof(Report)}");
            start.Environment[ReportVariable] = file;
            if (CudaUnderTest.SimulatorFile is { } simulator)
                start.Environment[Simulator.PathVariable] = simulator;
            foreach (var (name, value) in variables)
                start.Environment[name] = value;
            using var process = Process.Start(start)!;
            var errors = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd() + errors.Result;
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, output);
            return File.ReadAllLines(file).Select(line => line.Split('=', 2)).ToDictionary(p => p[0], p => p[1]);
        }
        finally
        {
            File.Delete(file);
        }
    }
}
