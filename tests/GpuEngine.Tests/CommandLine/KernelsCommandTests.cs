using System.Diagnostics;
using System.Text.Json;
using GpuEngine.Cuda;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>`gpuengine kernels` as a process, on the simulator where a device is needed.</summary>
public class KernelsCommandTests
{
    [Fact]
    public void List_has_every_entry_of_the_catalog()
    {
        var run = Gpuengine.Run("kernels", "list", "--json");
        Assert.True(run.ExitCode == 0, run.Error);
        using var json = JsonDocument.Parse(run.Output);
        Assert.Equal(KernelCatalog.All.Select(k => k.Entry), json.RootElement.EnumerateArray().Select(k => k.GetProperty("entry").GetString()));
        Assert.Contains("layer_norm", Gpuengine.Run("kernels", "list", "row_norm").Output);
    }

    [Theory]
    [InlineData("list")]
    [InlineData("check")]
    [InlineData("compile")]
    [InlineData("stats")]
    [InlineData("traffic")]
    public void An_unknown_name_is_one_sentence_with_the_nearest(string command) =>
        Gpuengine.Run("kernels", command, "row_nrom").IsUserError("'row_nrom'", "Did you mean 'row_norm'?");

    // Six channels in a slice of eight: blocks that share a slice read whole rows of partial moments, the empty places too.
    [Fact]
    public void Check_proves_batch_norm_in_every_variant()
    {
        CudaUnderTest.RequireSimulator();
        var environment = new Dictionary<string, string> { [Simulator.PathVariable] = CudaUnderTest.SimulatorFile! };
        var run = Gpuengine.Run(environment, "kernels", "check", "batch_norm", "--device", "sim", "--dtype", "f32", "--seeds", "1");
        Assert.True(run.ExitCode == 0, run.Output + run.Error);
        Assert.Contains("one_read", run.Output);
    }

    [Fact]
    public void Check_finds_a_wrong_formula_and_a_race_in_an_edited_file()
    {
        CudaUnderTest.RequireSimulator();
        Assert.SkipWhen(KernelSources.Folder is null, "Kernels are edited in a repository.");
        using var folder = new TemporaryFolder();
        Copy(KernelSources.Folder!, folder.Folder);
        string[] check = ["kernels", "check", "transpose", "--device", "sim", "--dtype", "f32", "--seeds", "2"];
        var right = Run(folder.Folder, check);
        Assert.True(right.ExitCode == 0, right.Output + right.Error);
        Assert.Contains("1 of 1 op and dtype pairs", right.Output);
        Assert.Contains("no race", right.Output);

        // Without the barrier a tile is read while others still write it.
        var file = Path.Combine(folder.Folder, "transpose.cu");
        var text = File.ReadAllText(file);
        Assert.Contains("__syncthreads();", text);
        File.WriteAllText(file, text.Replace("__syncthreads();", "", StringComparison.Ordinal));
        var wrong = Run(folder.Folder, check);
        Assert.True(wrong.ExitCode == 1, wrong.Output + wrong.Error);
        Assert.Contains("FAIL permute", wrong.Output);
        Assert.Contains("transpose.cu", wrong.Output);
    }

    [Fact]
    public void Compile_and_stats_work_without_a_gpu()
    {
        CudaUnderTest.RequireSimulator();
        var compile = Run(null, ["kernels", "compile", "transpose", "--device", "sim", "--json", "-"]);
        Assert.True(compile.ExitCode == 0, compile.Output + compile.Error);
        using var json = JsonDocument.Parse(compile.Output);
        Assert.All(json.RootElement.GetProperty("kernels").EnumerateArray(), k => Assert.True(k.GetProperty("ok").GetBoolean()));
        Assert.SkipWhen(Lab.Kernels.PtxGate.Missing is not null, "Without a GPU, stats come from the PTX gate, which needs clang.");
        var stats = Run(null, ["kernels", "stats", "transpose"]);
        Assert.True(stats.ExitCode == 0, stats.Error);
        Assert.Contains("registers", stats.Output);
    }

    private static Gpuengine.Result Run(string? kernels, string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "gpuengine.dll"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["GPUENGINE_CUDASIM"] = CudaUnderTest.SimulatorFile;
        start.Environment["GPUENGINE_KERNEL_CACHE"] = DeviceUnderTest.CacheFolder;
        if (kernels is not null) start.Environment[KernelSources.FolderVariable] = kernels;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new Gpuengine.Result(process.ExitCode, output, error.Result);
    }

    private static void Copy(string from, string to)
    {
        foreach (var path in Directory.EnumerateFiles(from, "*.cu*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(to, Path.GetRelativePath(from, path));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(path, copy);
        }
    }
}
