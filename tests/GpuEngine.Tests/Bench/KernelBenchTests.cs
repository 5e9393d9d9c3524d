using System.Diagnostics;
using System.Text.Json;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.Bench;

/// <summary>
/// `GpuEngine.Bench kernels` on the simulator, every case with a tiny shape and every variant: it must run on the day a GPU is there. Nothing
/// is timed. The peer's script runs too where python3 has PyTorch.
/// </summary>
public class KernelBenchTests
{
    [Fact]
    public void Every_case_and_variant_runs_and_so_does_the_peer()
    {
        CudaUnderTest.RequireSimulator();
        using var folder = new TemporaryFolder();
        var python = Array.Find(["python3", "/usr/bin/python3"], HasTorch);
        var (code, output, error) = Run(
            "kernels", "--device", "sim", "--variants", "--tune", "threads=128", "--json", folder["out.json"],
            "--peer", python is null ? "none" : "eager", "--python", python ?? "python3");
        Assert.True(code == 0, output + error);
        using var json = JsonDocument.Parse(File.ReadAllText(folder["out.json"]));
        var rows = json.RootElement.GetProperty("cases").EnumerateArray().ToArray();
        Assert.True(rows.Length > 40, output);
        foreach (var row in rows)
        {
            var label = row.GetProperty("case").GetString();
            Assert.False(row.TryGetProperty("failure", out var failure), $"{label}: {failure}");
            Assert.True(row.GetProperty("floor_bytes").GetInt64() > 0, label);
            Assert.NotEqual("", row.GetProperty("plan").GetString());
            // Old releases of PyTorch have no rms_norm.
            foreach (var note in row.GetProperty("peers").EnumerateArray().Select(p => p.GetProperty("note").GetString()))
                Assert.True(note is null || note.Contains("rms_norm", StringComparison.Ordinal), $"{label}: {note}");
        }
    }

    [Theory]
    [InlineData("--pear", "--peer")]
    [InlineData("--only no_such_kernel", "--list")]
    [InlineData("--tune threads", "NAME=INTEGER")]
    [InlineData("--seconds 0", "above 0")]
    [InlineData("--peer lazy", "eager")]
    public void A_bad_option_is_one_sentence(string options, string mentions)
    {
        var (code, output, error) = Run(["kernels", .. options.Split(' ')]);
        Assert.Equal(2, code);
        Assert.Equal("", output);
        Assert.Contains(mentions, error);
        Assert.DoesNotContain("   at ", error);
    }

    private static (int Code, string Output, string Error) Run(params string[] arguments)
    {
        // Built beside the tests in the repository, packed beside them in the GPU bundle.
        var here = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        string[] places =
        [
            Path.Combine(here, "..", "..", "GpuEngine.Bench", Path.GetFileName(here), "GpuEngine.Bench.dll"), Path.Combine(here, "..", "bench", "GpuEngine.Bench.dll"),
        ];
        var assembly = places.FirstOrDefault(File.Exists);
        Assert.SkipWhen(assembly is null, "GpuEngine.Bench is not built: build the solution.");
        var start = new ProcessStartInfo("dotnet", [assembly, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (CudaUnderTest.SimulatorFile is { } simulator) start.Environment["GPUENGINE_CUDASIM"] = simulator;
        start.Environment["GPUENGINE_KERNEL_CACHE"] = DeviceUnderTest.CacheFolder;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        // A kernel that spins for ever is a finding, not a reason to wait for ever.
        if (!process.WaitForExit(TimeSpan.FromMinutes(4))) process.Kill();
        return (process.ExitCode, output.Result, error.Result);
    }

    private static bool HasTorch(string python)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(python, ["-c", "import torch"]) { RedirectStandardError = true })!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
