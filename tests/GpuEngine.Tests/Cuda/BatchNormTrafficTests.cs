using System.Runtime.InteropServices;
using System.Text.Json;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// What the variants of batch_norm move, counted by the simulator: as many bytes as they claim, hardly more than the floor of each (every
/// tensor once, or twice), whole sectors, and no bank conflicts in the loops.
/// </summary>
[Collection("device")]
public class BatchNormTrafficTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>Shape, channels last, activation, variant, tuned numbers, passes over x forward and over (dy, x) backward.</summary>
    public static TheoryData<int[], bool, string, string, string, int> Cases => new()
    {
        { [3072, 64], false, "relu+", "one_read", "groups=1", 1 }, { [4, 32, 24, 128], true, "relu+", "one_read", "groups=1", 1 }, { [8, 8, 32, 32], false, "relu+", "one_read", "", 1 },
        { [1024, 64], false, "relu+", "small", "", 1 }, { [16, 8, 16, 16], false, "relu+", "small", "", 1 }, { [1024, 64], false, "relu", "small", "width=8", 1 },
        { [8192, 32], false, "relu+", "two_read", "piece_blocks=16", 2 }, { [16, 8, 32, 32], false, "relu", "two_read", "piece_blocks=16", 2 },
        { [3072, 64], false, "relu+#", "one_read", "groups=1", 1 }, { [1024, 64], false, "relu#", "small", "", 1 }, { [8192, 32], false, "relu#", "two_read", "piece_blocks=16", 2 },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_variant_moves_what_it_claims_and_hardly_more_than_its_floor(int[] shape, bool channelsLast, string activation, string variant, string tuning, int passes)
    {
        CudaUnderTest.RequireSimulator();
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var forward = BatchNormKernelTests.Forward(shape, channelsLast, activation, dtype);
            var limits = BatchNormKernelTests.Limits(variant, tuning);
            Check(BatchNormLauncher.Forward(forward, limits)!, forward.Op.Cost(forward).Bytes + (passes - 1) * forward.Inputs[0].Type.Bytes);
            var backward = BatchNormKernelTests.Backward(forward);
            Check(BatchNormBackwardLauncher.Create(backward, limits)!, backward.Op.Cost(backward).Bytes + (passes - 1) * 2 * backward.Inputs[0].Type.Bytes);
        }
    }

    /// <summary>Of what a block cannot keep only the rest is read again.</summary>
    [Fact]
    public void What_is_resident_is_not_read_again()
    {
        CudaUnderTest.RequireSimulator();
        var forward = BatchNormKernelTests.Forward([4096, 32], false, "relu+", DType.F32);
        var kernel = (PlannedKernel)BatchNormLauncher.Forward(forward, BatchNormKernelTests.Limits("one_read", "shared=40 groups=1 width=8 threads=256 batch=4 blocks=2"))!;
        // Two chunks of 128 rows in each of 8 blocks: half of the tensor.
        Assert.Equal(256, kernel.Steps[0].Sizes[^2]);
        Check(kernel, forward.Op.Cost(forward).Bytes + forward.Inputs[0].Type.Bytes / 2);
    }

    private void Check(CudaKernel kernel, long floor)
    {
        var inputs = BatchNormKernelTests.Values(kernel.Node);
        KernelRun.Outputs(under.Shared, kernel, inputs);
        Set("traffic");
        try
        {
            Cudasim.cudasim_counters_clear();
            KernelRun.Outputs(under.Shared, kernel, inputs);
            using var json = Counters();
            var launches = json.RootElement.EnumerateArray().ToList();
            long Total(params string[] names) => launches.Sum(l => names.Sum(n => l.GetProperty(n).GetInt64()));
            var (bytes, claimed) = (Total("global_read_bytes", "global_write_bytes"), kernel.Cost.Bytes);
            var name = $"{kernel.Requests[0].Entry} in {kernel.Node.Inputs[0].Type}";
            Assert.True(Math.Abs(bytes - claimed) <= 0.005 * claimed, $"{name}: {bytes} bytes moved, {claimed} claimed ({(double)bytes / claimed:F4})");
            Assert.True(bytes <= 1.02 * floor, $"{name}: {bytes} bytes moved, floor {floor} ({(double)bytes / floor:F4})");
            var (sectors, least) = (Total("global_read_sectors", "global_write_sectors"), Total("global_read_ideal_sectors", "global_write_ideal_sectors"));
            Assert.True(sectors <= 1.05 * least, $"{name}: {sectors} sectors, at least {least} ({(double)sectors / least:F4})");
            foreach (var site in launches.SelectMany(l => l.GetProperty("sites").EnumerateArray()))
            {
                if (!site.TryGetProperty("max_ways", out var ways)) continue;
                Assert.True(ways.GetInt32() <= 2, $"{name}: {site}");
            }
        }
        finally
        {
            Set("memory,race");
        }
    }

    private static void Set(string checks) => Assert.Equal(0, Cudasim.cudasim_set_option("check", checks));

    private static unsafe JsonDocument Counters() => JsonDocument.Parse(Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_counters_json()) ?? "[]");
}
