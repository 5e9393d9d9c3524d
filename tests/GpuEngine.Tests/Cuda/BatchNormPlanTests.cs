using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>How batch_norm is planned for an H200: which variant, and that what is planned can run.</summary>
public class BatchNormPlanTests
{
    /// <summary>The shapes of the performance table; variant forward and backward; whether x stays on chip, dy and x do.</summary>
    public static TheoryData<int[], bool, string, string, string, bool, bool> Shapes => new()
    {
        { [256, 14, 14, 1024], true, "relu+", "two_read", "two_read", false, false }, { [256, 28, 28, 512], true, "relu+", "two_read", "two_read", false, false },
        { [256, 56, 56, 256], true, "relu+", "two_read", "two_read", false, false }, { [256, 7, 7, 2048], true, "relu+", "two_read", "two_read", false, false },
        { [4, 128, 1024, 1024], false, "none", "one_read", "one_read", true, false }, { [256, 64, 56, 56], false, "relu", "one_read", "one_read", true, true },
        { [256, 112, 112, 64], true, "relu", "one_read", "one_read", false, false },
        { [8, 64, 32, 32], false, "relu", "small", "small", true, true }, { [4, 256, 28, 28], false, "none", "small", "small", true, true },
        { [128, 512], false, "relu", "small", "small", true, true }, { [1024, 512], false, "relu", "small", "small", true, true },
        { [1024, 4096], false, "relu", "small", "small", true, true },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void The_table_s_shapes_are_planned_as_meant(
        int[] shape, bool channelsLast, string activation, string forwardVariant, string backwardVariant, bool fits, bool fitsBackward)
    {
        var limits = new CudaLimits();
        var forward = BatchNormKernelTests.Forward(shape, channelsLast, activation, DType.BF16);
        Check(forward, forwardVariant, fits);
        Check(BatchNormKernelTests.Backward(forward), backwardVariant, fitsBackward);

        void Check(Node node, string variant, bool fitsOnChip)
        {
            var kernel = (PlannedKernel)CudaKernels.Create(node, limits)!;
            if (variant == "two_read")
            {
                Assert.Equal(2, kernel.Steps.Count);
                return;
            }

            var step = Assert.Single(kernel.Steps);
            Assert.EndsWith(variant, step.Request.Entry, StringComparison.Ordinal);
            Assert.True(!fitsOnChip || kernel.Cost.Bytes <= 1.02 * node.Op.Cost(node).Bytes, $"{step.Request.Entry}: {kernel.Cost.Bytes} bytes of {node.Op.Cost(node).Bytes}");
            if (!step.Shape.Cooperative) return;
            // So many blocks on each multiprocessor, with what the kernel declares itself and the hardware reserves, and no block too many.
            var blocks = int.Parse(step.Request.Defines.Single(d => d.Name == "BLOCKS").Value);
            Assert.InRange(step.Shape.Grid.X, 1u, 132u * (uint)blocks);
            Assert.InRange((int)step.Shape.SharedBytes, 1, step.Request.DynamicSharedBytes);
            Assert.InRange(step.Request.DynamicSharedBytes, 1, Math.Min(228 * 1024 / blocks - 1024, 227 * 1024) - 300);
        }
    }

    [Theory]
    [InlineData("margin=4", 128)]
    [InlineData("blocks=2", 264)]
    [InlineData("groups=3", 132)]
    public void A_bench_changes_the_geometry_by_name(string tuning, uint most)
    {
        var node = BatchNormKernelTests.Forward([256, 14, 14, 1024], true, "relu+", DType.BF16);
        var numbers = new Dictionary<string, int> { [tuning.Split('=')[0]] = int.Parse(tuning.Split('=')[1]) };
        var step = ((PlannedKernel)CudaKernels.Create(node, new CudaLimits { Variant = "one_read", Tuning = numbers })!).Steps[0];
        Assert.InRange(step.Shape.Grid.X, most - 8, most);
    }

    [Fact]
    public void A_device_without_cooperative_launches_or_clusters_reads_twice()
    {
        var limits = new CudaLimits { SupportsClusters = false, SupportsCooperativeLaunch = false };
        foreach (var shape in new[] { new[] { 20000, 64 }, [64, 3, 224, 224] })
        {
            var node = BatchNormKernelTests.Forward(shape, false, "relu", DType.F32);
            Assert.Equal(["batch_norm_statistics", "batch_norm_apply"], CudaKernels.Create(node, limits)!.Requests.Select(r => r.Entry));
            // What is asked for and cannot be had is as if nothing were asked.
            Assert.Equal(2, CudaKernels.Create(node, limits with { Variant = "one_read" })!.Requests.Count);
        }
    }

    [Fact]
    public void Only_one_read_depends_on_the_size_of_the_device()
    {
        foreach (var (variant, shape) in new[] { ("small", new[] { 1024, 4096 }), ("two_read", [30000, 64]) })
        {
            var node = BatchNormKernelTests.Forward(shape, false, "relu", DType.F32);
            var (one, other) = (Plan(1), Plan(132));
            Assert.Contains(variant == "small" ? "small" : "statistics", one.Requests[0].Entry, StringComparison.Ordinal);
            Assert.Equal(one.Steps.Select(s => s.Shape), other.Steps.Select(s => s.Shape));
            PlannedKernel Plan(int multiprocessors) =>
                (PlannedKernel)CudaKernels.Create(node, new CudaLimits { Multiprocessors = multiprocessors, Variant = variant })!;
        }
    }
}
