using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>What the user hears when a plan does not fit or a run fails. The simulator's faults stand in for the hardware's.</summary>
[Collection("device")]
public sealed class DeviceErrorTests : IDisposable
{
    public DeviceErrorTests() => CudaUnderTest.RequireSimulator();

    public void Dispose()
    {
        foreach (var (option, off) in new[] { ("fail_alloc_above", "-1"), ("illegal_address_at", "0") })
            _ = Cudasim.cudasim_set_option(option, off);
        Cudasim.cudasim_findings_clear();
    }

    [Fact]
    public void Out_of_memory_says_what_was_asked_for_what_is_free_and_what_to_change()
    {
        using var device = DeviceUnderTest.Open();
        Assert.Equal(0, Cudasim.cudasim_set_option("fail_alloc_above", "100000"));
        var x = F.Input("x", DType.F32, [300, 300]);
        var error = Assert.Throws<OutOfDeviceMemoryException>(() => new Evaluation(device, [new("y", F.Sum(F.Exp(F.Transpose(x)) * x))]));
        Assert.Contains("were asked for (", error.Message);
        Assert.Contains("are free", error.Message);
        Assert.Contains("The plan 'evaluation' needs ", error.Message);
        Assert.Contains("activations ", error.Message);
        Assert.Contains("--batch-size", error.Message);
        // What was allocated before the failure is given back, and the device can be used again.
        Assert.Equal(0, Cudasim.cudasim_set_option("fail_alloc_above", "-1"));
        using var fits = new Evaluation(device, [new("y", F.Sum(x))]);
        fits.Run();
    }

    [Fact]
    public void Waiting_for_launches_names_the_one_that_failed()
    {
        using var device = DeviceUnderTest.Open(new CudaDeviceOptions { SyncLaunches = true, KernelCacheFolder = DeviceUnderTest.CacheFolder });
        var x = F.Input("x", DType.F32, [30]);
        using var evaluation = new Evaluation(device, [new("y", F.Sum(F.Exp(x)))]);
        evaluation.Run();
        Assert.Equal(0, Cudasim.cudasim_set_option("illegal_address_at", "1"));
        var error = Assert.Throws<CudaException>(evaluation.Run);
        Assert.StartsWith("Kernel elementwise", error.Message);
    }

    [Fact]
    public void A_wrong_name_or_length_is_told_apart()
    {
        using var device = DeviceUnderTest.Open();
        using var evaluation = new Evaluation(device, [new("y", F.Exp(F.Input("x", DType.F32, [30])))]);
        var executable = evaluation.Executable;
        Assert.Contains("has no input 'z'; it has: x.", Assert.Throws<ArgumentException>(() => executable.Write("z", new byte[4])).Message);
        Assert.Contains("has 120 bytes, but 4 were given", Assert.Throws<ArgumentException>(() => executable.Write("x", new byte[4])).Message);
        Assert.Contains("has no output 'x'; it has: y.", Assert.Throws<ArgumentException>(() => executable.Read("x", new byte[4])).Message);
    }
}
