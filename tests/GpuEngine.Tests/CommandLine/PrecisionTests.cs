using System.Text.Json;
using GpuEngine.Cuda;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>What --precision does on a CUDA device.</summary>
public sealed class PrecisionTests
{
    [Fact]
    public void Tf32_rounds_products_where_it_is_asked_for_and_only_there()
    {
        CudaUnderTest.RequireSimulator();
        using var folder = new TemporaryFolder();
        var (exact, again, rounded) = (Loss(folder, "fp32", "a"), Loss(folder, "fp32", "b"), Loss(folder, "tf32", "c"));
        Assert.Equal(exact, again);
        Assert.NotEqual(exact, rounded);
        // TF32 has 10 bits behind the point, so a product is within 2^-10 of its f32 value; five steps do not make much more of it.
        Assert.Equal(exact, rounded, 0.02);
    }

    private static double Loss(TemporaryFolder folder, string precision, string run)
    {
        var result = Gpuengine.Run(
            new Dictionary<string, string> { [Simulator.PathVariable] = CudaUnderTest.SimulatorFile! },
            "train", "--device", "sim", "--model", "mlp", "--depth", "2", "--width", "32", "--data", "shapeset", "--limit", "640", "--epochs", "1",
            "--precision", precision, "--out", folder[run]);
        Assert.True(result.ExitCode == 0, result.Error);
        var line = File.ReadLines(Path.Combine(folder[run], "metrics.jsonl")).First();
        return JsonDocument.Parse(line).RootElement.GetProperty("train_loss").GetDouble();
    }
}
