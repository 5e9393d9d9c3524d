using GpuEngine.Cuda;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.CommandLine;

/// <summary>
/// What a person sees when the device fails while <c>gpuengine train</c> runs. The simulator injects the fault; the process, the
/// files and the words are the real ones.
/// </summary>
public sealed class DeviceFaultTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public DeviceFaultTests() => CudaUnderTest.RequireSimulator();

    public void Dispose() => _folder.Dispose();

    // The step is launched singly once and replayed as a graph afterwards: launch 160 of the five steps of each epoch lies
    // behind the first checkpoint and before the end.
    [Theory]
    [InlineData("ECC_AT", "CUDA_ERROR_ECC_UNCORRECTABLE")]
    [InlineData("ILLEGAL_ADDRESS_AT", "CUDA_ERROR_ILLEGAL_ADDRESS")]
    [InlineData("FAIL_LAUNCH_AT", "CUDA_ERROR_LAUNCH_FAILED")]
    public void An_error_in_mid_run_leaves_the_last_checkpoint_and_says_how_to_go_on(string fault, string name)
    {
        var failed = Train(fault, "160");
        Assert.Equal(1, failed.ExitCode);
        Assert.Contains(name, failed.Error);
        Assert.Contains("newest first: graph ", failed.Error);
        Assert.Contains("GPUENGINE_SYNC_LAUNCHES=1", failed.Error);
        Assert.Matches($"its checkpoint of step (5|10) is intact: go on from it with --resume --out {_folder["run"]}\\.", failed.Error);
        Assert.DoesNotContain("   at ", failed.Error);

        var resumed = Gpuengine.Run(Environment(), "train", "--resume", "--out", _folder["run"]);
        Assert.True(resumed.ExitCode == 0, resumed.Error);

        // Going on after the fault gives what an undisturbed run gives, to the last bit.
        var whole = Gpuengine.Run(Environment(), [.. Job, "--out", _folder["whole"]]);
        Assert.True(whole.ExitCode == 0, whole.Error);
        Assert.Equal(Weights("whole"), Weights("run"));
    }

    [Fact]
    public void Waiting_for_every_launch_names_the_kernel_that_failed()
    {
        var environment = Environment();
        environment["CUDASIM_ILLEGAL_ADDRESS_AT"] = "200";
        environment["GPUENGINE_SYNC_LAUNCHES"] = "1";
        var failed = Gpuengine.Run(environment, [.. Job, "--out", _folder["run"]]);
        Assert.Equal(1, failed.ExitCode);
        Assert.Matches(@"^gpuengine: Kernel \w+ \(grid .*CUDA_ERROR_ILLEGAL_ADDRESS.*so it is this one", failed.Error);
    }

    [Fact]
    public void A_device_that_is_too_small_is_told_with_the_largest_classes()
    {
        var failed = Train("MEMORY", "20000000");
        Assert.Equal(1, failed.ExitCode);
        Assert.Matches("Out of device memory .* MiB were asked for .* are free.*most: .*--batch-size", failed.Error);
        Assert.False(Directory.Exists(_folder["run"]) && Directory.EnumerateFiles(_folder["run"]).Any());
    }

    [Theory]
    [InlineData("NO_DRIVER", "1", "no device")]
    [InlineData("DEVICES", "0", "no device")]
    [InlineData("DRIVER_VERSION", "11080", "12.0 or newer")]
    public void No_device_or_an_old_driver_is_a_sentence(string fault, string value, string mention) => Train(fault, value).IsUserError(mention);

    private static string[] Job =>
    [
        "train", "--device", "sim", "--model", "mlp", "--depth", "2", "--width", "32", "--data", "shapeset", "--limit", "640", "--epochs", "3",
    ];

    private Gpuengine.Result Train(string fault, string value)
    {
        var environment = Environment();
        environment[$"CUDASIM_{fault}"] = value;
        return Gpuengine.Run(environment, [.. Job, "--out", _folder["run"]]);
    }

    private static Dictionary<string, string> Environment() => new() { [Simulator.PathVariable] = CudaUnderTest.SimulatorFile! };

    private byte[] Weights(string run) => File.ReadAllBytes(Path.Combine(_folder[run], "checkpoints", "step-00000015.safetensors"));
}
