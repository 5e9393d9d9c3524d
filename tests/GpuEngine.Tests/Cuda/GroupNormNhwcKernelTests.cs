using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Every mapping of group_norm_nhwc.cu and group_norm_nhwc_backward.cu against group_norm_nhwc_naive.cu.</summary>
[Collection("device")]
public class GroupNormNhwcKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>Shape, groups (0: instance_norm), and what to plan with.</summary>
    public static TheoryData<int[], int, string> Mappings => new()
    {
        // Groups of whole vectors, of parts of a vector, across vectors; columns that are no power of two; odd channels.
        { [3, 5, 6, 32], 4, "" }, { [2, 30, 64], 32, "" }, { [2, 7, 9, 80], 8, "" }, { [2, 11, 6], 3, "" }, { [3, 13, 15], 5, "" }, { [4, 3, 7], 7, "" },
        { [2, 40, 24], 1, "" }, { [2, 25, 40], 0, "" }, { [5, 2, 8], 1, "" },
        // Slices of some or of all groups, of one block or of several; blocks without a position.
        { [2, 16, 16, 64], 16, "columns=4 cluster=1" }, { [2, 16, 16, 64], 16, "columns=8 cluster=2" }, { [2, 16, 16, 64], 16, "cluster=8 threads=128" },
        { [1, 9, 32], 4, "cluster=8" }, { [2, 33, 17, 40], 4, "cluster=4 threads=256" }, { [2, 200, 16], 0, "cluster=2 threads=128" },
        { [1, 600, 8], 2, "" },
    };

    [Theory]
    [MemberData(nameof(Mappings))]
    public void One_read_agrees_with_the_naive_kernels(int[] shape, int groups, string tuning) =>
        Compare(shape, groups, tuning, "one_read", "group_norm_nhwc_forward", "group_norm_nhwc_backward");

    [Theory]
    [InlineData(new[] { 3, 5, 6, 32 }, 4, "parts=2")]
    [InlineData(new[] { 2, 40, 41, 16 }, 2, "")]
    [InlineData(new[] { 2, 40, 41, 16 }, 16, "parts=7 chunk=2")]
    [InlineData(new[] { 2, 100, 40 }, 4, "parts=3 chunk=1")]
    [InlineData(new[] { 2, 70, 15 }, 5, "parts=3")]
    [InlineData(new[] { 1, 5, 8 }, 1, "parts=4")]
    public void Two_reads_agree_with_the_naive_kernels(int[] shape, int groups, string tuning) =>
        Compare(shape, groups, tuning, "two_read", "group_norm_nhwc_statistics", "group_norm_nhwc_backward_sums");

    [Fact]
    public void What_fits_on_the_chip_is_read_once()
    {
        var limits = new CudaLimits();
        Assert.Equal("group_norm_nhwc_forward", Entry([32, 56, 56, 256], 32, limits));
        Assert.Equal("group_norm_nhwc_forward", Entry([16, 64, 64, 320], 32, limits));
        Assert.Equal("group_norm_nhwc_statistics", Entry([4, 256, 256, 320], 32, limits));
        Assert.Equal("group_norm_nhwc_naive_forward", Entry([32, 56, 56, 256], 32, limits with { Variant = "naive" }));
        Assert.Equal("group_norm_nhwc_statistics", Entry([32, 56, 56, 256], 32, limits with { Variant = "two_read" }));
        // Without clusters less fits.
        Assert.Equal("group_norm_nhwc_statistics", Entry([32, 56, 56, 256], 1, limits with { SupportsClusters = false }));
        // A group wider than a block's threads is no slice.
        Assert.Equal("group_norm_nhwc_naive_forward", Entry([2, 3, 3, 4099], 1, limits));
        // One place: channels first and channels last are the same.
        Assert.Equal("row_norm_forward", Entry([8, 1, 64], 4, limits));
    }

    /// <summary>The variance of small deviations from a large mean, and what is left of them in y.</summary>
    [Theory]
    [InlineData("one_read", "cluster=1")]
    [InlineData("one_read", "cluster=4")]
    [InlineData("two_read", "parts=5")]
    public void A_mean_of_a_thousand_costs_no_digits(string variant, string tuning)
    {
        const int Positions = 300, Channels = 20, Width = 5;
        var node = F.GroupNorm(F.Input("x", DType.F32, [2, Positions, Channels]), Channels / Width, eps: 0, channelsLast: true).Node;
        var random = new System.Random(5);
        double[] x = [.. Enumerable.Range(0, 2 * Positions * Channels).Select(_ => (double)(float)(1000 + Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        var outputs = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, NormKernelPair.Limits(tuning, variant))!, [x]);
        for (var row = 0; row < 2 * Channels / Width; row++)
        {
            var at = Enumerable.Range(0, Positions * Width)
                .Select(i => (row / (Channels / Width) * Positions + i / Width) * Channels + row % (Channels / Width) * Width + i % Width).ToArray();
            var mean = at.Average(i => x[i]);
            var invstd = 1 / Math.Sqrt(at.Average(i => (x[i] - mean) * (x[i] - mean)));
            // Half a unit in the last place of 1000 is 3e-5; everything else is relative to deviations of one.
            Assert.Equal(mean, outputs[1][row], 3.1e-5);
            Assert.Equal(invstd, outputs[2][row], 1e-5 * invstd);
            foreach (var i in at) Assert.Equal((x[i] - mean) * invstd, outputs[0][i], 1e-5);
        }
    }

    private void Compare(int[] shape, int groups, string tuning, string variant, string forward, string backward)
    {
        foreach (var (dtype, activation) in new (DType, Activation?)[] { (DType.F32, null), (DType.BF16, new Silu()) })
        {
            var x = F.Input("x", dtype, new Shape(shape));
            var (w, b) = (F.Input("w", DType.F32, [shape[^1]]), F.Input("b", DType.F32, [shape[^1]]));
            var y = groups == 0
                ? F.InstanceNorm(x, null, null, w, b, activation: activation, channelsLast: true).Output
                : F.GroupNorm(x, groups, w, b, activation: activation, channelsLast: true);
            Assert.Equal((forward, backward), NormKernelPair.Compare(under, y, NormKernelPair.Limits(tuning, variant)));
            // Without parameters.
            if (dtype == DType.F32 && groups > 0)
                NormKernelPair.Compare(under, F.GroupNorm(x, groups, activation: new Relu(), channelsLast: true), NormKernelPair.Limits(tuning, variant));
        }
    }

    private static string Entry(int[] shape, int groups, CudaLimits limits) =>
        CudaKernels.Create(F.GroupNorm(F.Input("x", DType.BF16, new Shape(shape)), groups, channelsLast: true).Node, limits)!.Requests[0].Entry;
}
