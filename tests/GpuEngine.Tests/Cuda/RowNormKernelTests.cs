using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// Every mapping of row_norm.cu and row_norm_backward.cu against row_norm_naive.cu on the same device and in the same dtype: each
/// planned and run by itself with the numbers that lead to it.
/// </summary>
[Collection("device")]
public class RowNormKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>Shape, normalised axes (0: groups of channels), and what to plan with.</summary>
    public static TheoryData<string, int[], int, string> Mappings => new()
    {
        // One lane, parts of a warp with several rows per thread, a warp; odd widths, tails of vectors and of rows.
        { "layer", [300, 1], 1, "" }, { "layer", [77, 5], 1, "" }, { "layer", [131, 35], 1, "" }, { "layer", [700, 16], 1, "rows=4 blocks=1" },
        { "layer", [530, 128], 1, "rows=2 params=0" }, { "layer", [101, 96], 1, "rows=1 params=2" }, { "layer", [41, 132], 1, "" }, { "layer", [41, 999], 1, "" },
        { "layer", [37, 1024], 1, "blocks=1" }, { "rms", [37, 1024], 1, "params=2" }, { "bare", [37, 130], 1, "" },
        // Several warps to a row, several rows to a block, copied ahead or not, parameters in each place.
        { "layer", [23, 520], 1, "lanes=64 stages=0 params=1 blocks=1" }, { "layer", [23, 520], 1, "lanes=64 stages=1 params=2 blocks=1" },
        { "layer", [23, 520], 1, "lanes=64 stages=3 params=0 blocks=1" }, { "rms", [23, 520], 1, "lanes=96 stages=2 threads=192 blocks=1" },
        { "layer", [9, 4096], 1, "blocks=1" }, { "layer", [9, 4096], 1, "blocks=1 stages=0" }, { "layer", [9, 4100], 1, "stages=2" }, { "bare", [5, 3000], 1, "" },
        // Blocks that add up their sums through each other's shared memory.
        { "layer", [33, 520], 1, "lanes=64 gather=2 blocks=1" }, { "layer", [29, 1024], 1, "lanes=128 gather=4 blocks=2" }, { "rms", [90, 128], 1, "gather=2 blocks=2" },
        { "layer", [3, 40], 1, "gather=8" },
        // A row across blocks.
        { "layer", [7, 2048], 1, "cluster=2 lanes=128" }, { "layer", [5, 2052], 1, "cluster=4 lanes=128 stages=1" }, { "rms", [3, 8192], 1, "cluster=8 lanes=256 stages=2" },
        { "layer", [2, 20000], 1, "" },
        // Groups of [N, C]: whose turn it is among the slots of the blocks.
        { "group", [9, 38], 2, "" }, { "group", [90, 64], 8, "blocks=1" }, { "group", [50, 21], 7, "" }, { "group", [7, 2048], 2, "stages=1" }, { "group", [40, 96], 3, "lanes=8" },
        // Units: less than a vector, part of a warp, a warp, several warps, across blocks; more units than teams, ragged ones.
        { "group", [6, 12, 5], 3, "" }, { "group", [20, 6, 4, 4], 3, "rows=2" }, { "group", [9, 24, 8, 8], 3, "" }, { "group", [3, 10, 7, 7], 2, "" },
        { "group", [3, 6, 40, 40], 2, "" }, { "group", [3, 6, 40, 40], 2, "stages=0" }, { "group", [2, 10, 33, 36], 2, "cluster=2" },
        { "group", [2, 4, 64, 64], 1, "cluster=2 lanes=512" }, { "instance", [4, 5, 30, 30], 0, "" }, { "instance", [2, 2, 64, 66], 0, "cluster=2" },
    };

    [Theory]
    [MemberData(nameof(Mappings))]
    public void Fast_kernels_agree_with_the_naive_ones(string norm, int[] shape, int groups, string tuning)
    {
        foreach (var (dtype, activation) in new (DType, Activation?)[] { (DType.F32, null), (DType.BF16, new Silu()) })
        {
            var x = F.Input("x", dtype, new Shape(shape));
            Shape parameters = norm is "layer" or "rms" ? new Shape(shape.AsSpan()[^groups..]) : new Shape(shape[1]);
            var (w, b) = (F.Input("w", DType.F32, parameters), F.Input("b", DType.F32, parameters));
            var y = norm switch
            {
                "layer" => F.LayerNorm(x, parameters, w, b, activation: activation),
                "bare" => F.LayerNorm(x, [shape[^1]], activation: activation),
                "rms" => F.RmsNorm(x, parameters, w, activation: activation),
                "group" => F.GroupNorm(x, groups, w, b, activation: activation),
                _ => F.InstanceNorm(x, null, null, w, b, activation: activation).Output,
            };
            Assert.Equal(("row_norm_forward", "row_norm_backward"), NormKernelPair.Compare(under, y, NormKernelPair.Limits(tuning)));
        }
    }

    [Theory]
    [InlineData(64, 1024, 1, 8)]
    [InlineData(8, 4096, 1, 128)]
    [InlineData(2, 131072, 8, 512)]
    [InlineData(100000, 128, 1, 32)]
    public void Width_decides_how_many_threads_share_a_row(int rows, int width, int mostCluster, int leastLanes)
    {
        var node = F.LayerNorm(F.Input("x", DType.F32, [rows, width]), [width]).Node;
        var kernel = (PlannedKernel)RowNormLauncher.Forward(node, new CudaLimits())!;
        Assert.Equal("row_norm_forward", kernel.Requests[0].Entry);
        var defines = kernel.Requests[0].Defines.ToDictionary(d => d.Name, d => d.Value);
        Assert.InRange(int.Parse(defines["CLUSTER"], null), 1, mostCluster);
        Assert.InRange(int.Parse(defines["LANES"], null), leastLanes, 1024);
    }

    [Fact]
    public void What_does_not_fit_runs_naively()
    {
        var wide = F.LayerNorm(F.Input("x", DType.F32, [2, 1 << 20]), [1 << 20]).Node;
        Assert.Equal("row_norm_naive_forward", RowNormLauncher.Forward(wide, new CudaLimits())!.Requests[0].Entry);
        var narrow = F.LayerNorm(F.Input("x", DType.F32, [2, 64]), [64]).Node;
        Assert.Equal("row_norm_naive_forward", RowNormLauncher.Forward(narrow, new CudaLimits { Variant = "naive" })!.Requests[0].Entry);
        Assert.Null(RowNormLauncher.Forward(F.LayerNorm(F.Input("x", DType.F64, [2, 64]), [64]).Node, new CudaLimits()));
        Assert.Null(RowNormLauncher.Forward(F.LayerNorm(F.Input("x", DType.F32, [0, 64]), [64]).Node, new CudaLimits()));
        // Before compute capability 9.0 a row stays within a block.
        var old = new CudaLimits { SupportsClusters = false, Architecture = 80 };
        Assert.All(((PlannedKernel)RowNormLauncher.Forward(F.LayerNorm(F.Input("x", DType.F32, [4, 16384]), [16384]).Node, old)!).Steps, s => Assert.False(s.Shape.HasCluster));
    }

    /// <summary>The variance of small deviations from a large mean, and what is left of them in y.</summary>
    [Theory]
    [InlineData(64, 200)]
    [InlineData(2048, 3)]
    [InlineData(20000, 1)]
    public void A_mean_of_a_thousand_costs_no_digits(int width, int rows)
    {
        var node = F.LayerNorm(F.Input("x", DType.F32, [rows, width]), [width], eps: 0).Node;
        var random = new System.Random(5);
        double[] x = [.. Enumerable.Range(0, rows * width).Select(_ => (double)(float)(1000 + Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
        var outputs = KernelRun.Outputs(under.Shared, RowNormLauncher.Forward(node, NormKernelPair.Limits(""))!, [x]);
        for (var r = 0; r < rows; r++)
        {
            var row = x.Skip(r * width).Take(width).ToArray();
            var mean = row.Average();
            var invstd = 1 / Math.Sqrt(row.Average(v => (v - mean) * (v - mean)));
            // Half a unit in the last place of 1000 is 3e-5; everything else is relative to deviations of one.
            Assert.Equal(mean, outputs[1][r], 3.1e-5);
            Assert.Equal(invstd, outputs[2][r], 1e-5 * invstd);
            for (var i = 0; i < width; i++) Assert.Equal((row[i] - mean) * invstd, outputs[0][r * width + i], 1e-5);
        }
    }
}
