using GpuEngine.Cuda;
using GpuEngine.Lab.Kernels;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>The traffic table of README.md is what the simulator counts today.</summary>
[Collection("device")]
public class TrafficTableTests
{
    [Fact]
    public void Readme_holds_what_the_simulator_counts()
    {
        CudaUnderTest.RequireSimulator();
        Assert.SkipWhen(KernelSources.Folder is null, "README.md is only in a repository.");
        var counted = TrafficTable.Generate(new CudaDeviceOptions { KernelCacheFolder = DeviceUnderTest.CacheFolder });
        var written = TrafficTable.Read(TrafficTable.Readme());
        Assert.True(
            counted == written,
            "The traffic table of README.md is stale: run `gpuengine kernels traffic --write-readme` and look at what changed. Counted now:\n" +
            string.Join('\n', counted.Split('\n').Except(written.Split('\n'))));
    }
}
