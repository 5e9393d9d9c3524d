using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// What the norms of rows move, counted by the simulator: as many bytes as they claim, hardly more than the floor of each variant, whole
/// sectors, no bank conflicts; and the same bits whatever the schedule.
/// </summary>
[Collection("device")]
public class NormTrafficTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private const int Schedules = 20;

    /// <summary>Norm, shape, groups, variant, tuned numbers, and how often x (and dy) are read. Enough rows that parameters and partial sums do not count.</summary>
    public static TheoryData<string, int[], int, string, string, int> Cases => new()
    {
        { "layer", [4096, 128], 0, "one_read", "blocks=1", 1 }, { "layer", [1024, 512], 0, "one_read", "blocks=1 params=2", 1 },
        { "layer", [768, 1024], 0, "one_read", "blocks=1 lanes=128 stages=2", 1 }, { "rms", [300, 4096], 0, "one_read", "blocks=1", 1 },
        { "layer", [300, 2048], 0, "one_read", "blocks=1 cluster=2 lanes=128", 1 }, { "layer", [600, 1024], 0, "one_read", "blocks=2 lanes=128 gather=4", 1 },
        { "group", [8192, 256], 8, "one_read", "", 1 },
        { "group", [8, 16, 32, 32], 4, "one_read", "", 1 }, { "group", [8, 16, 64, 64], 2, "one_read", "cluster=2", 1 },
        { "group last", [8, 32, 32, 64], 16, "one_read", "cluster=2 columns=8", 1 }, { "group last", [2, 64, 64, 80], 8, "one_read", "cluster=8", 1 },
        { "group last", [4, 64, 64, 64], 16, "two_read", "parts=4", 2 }, { "instance last", [8, 16, 16, 64], 0, "one_read", "cluster=1", 1 },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_variant_moves_what_it_claims_and_hardly_more_than_its_floor(string norm, int[] shape, int groups, string variant, string tuning, int passes)
    {
        CudaUnderTest.RequireSimulator();
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            foreach (var node in Nodes(norm, shape, groups, dtype))
            {
                var kernel = (PlannedKernel)CudaKernels.Create(node, NormKernelPair.Limits(tuning, variant))!;
                var random = new System.Random(1);
                double[][] inputs = [.. node.Inputs.Select(t => NormKernelPair.Values(random, t))];
                KernelRun.Outputs(under.Shared, kernel, inputs);
                var counted = CountedTraffic.Of(under.Shared, (PlannedKernel)CudaKernels.Create(node, NormKernelPair.Limits(tuning, variant))!, inputs);
                var name = $"{kernel.Requests[0].Entry} in {node.Inputs[0].Type}, {kernel.Steps[0].Shape}";
                var claimed = kernel.Cost.Bytes;
                Assert.True(Math.Abs(counted.Bytes - claimed) <= 0.002 * claimed, $"{name}: {counted.Bytes} bytes moved, {claimed} claimed ({(double)counted.Bytes / claimed:F4})");
                // x once more for each further pass; the gradient also dy.
                var tensors = node.Op is RowNormBackwardOp ? 2 : 1;
                var floor = node.Op.Cost(node).Bytes + (passes - 1) * tensors * node.Inputs[0].Type.Bytes;
                Assert.True(counted.Bytes <= 1.02 * floor, $"{name}: {counted.Bytes} bytes moved, floor {floor} ({(double)counted.Bytes / floor:F4})");
                Assert.True(counted.Sectors <= 1.05 * counted.FewestSectors, $"{name}: {counted.Sectors} sectors, at least {counted.FewestSectors}");
                Assert.True(counted.LoopBankWays <= 2, $"{name}: {counted.LoopBankWays} ways");
            }
        }
    }

    /// <summary>One mapping of each kind of exchange: within a warp, a block, a cluster; the sums of parameters; slices.</summary>
    [Theory]
    [InlineData("layer", new[] { 60, 40 }, 0, "one_read", "rows=2 blocks=1")]
    [InlineData("layer", new[] { 13, 520 }, 0, "one_read", "lanes=64 stages=2 blocks=1")]
    [InlineData("layer", new[] { 12, 1030 }, 0, "one_read", "lanes=128 cluster=2 stages=1")]
    [InlineData("layer", new[] { 21, 260 }, 0, "one_read", "lanes=64 gather=2 blocks=2")]
    [InlineData("group", new[] { 30, 24 }, 3, "one_read", "")]
    [InlineData("group", new[] { 3, 6, 10, 10 }, 2, "one_read", "")]
    [InlineData("group last", new[] { 2, 9, 8, 24 }, 4, "one_read", "cluster=2 threads=128")]
    [InlineData("group last", new[] { 2, 9, 8, 20 }, 4, "two_read", "parts=2")]
    public void Twenty_schedules_give_the_same_bits_and_no_finding(string norm, int[] shape, int groups, string variant, string tuning)
    {
        CudaUnderTest.RequireSimulator();
        foreach (var node in Nodes(norm, shape, groups, DType.F32))
        {
            var random = new System.Random(1);
            double[][] inputs = [.. node.Inputs.Select(t => NormKernelPair.Values(random, t))];
            double[][] Run() => KernelRun.Outputs(under.Shared, CudaKernels.Create(node, NormKernelPair.Limits(tuning, variant))!, inputs);
            var expected = Run();
            try
            {
                for (var seed = 1; seed <= Schedules; seed++)
                {
                    Assert.Equal(0, Cudasim.cudasim_set_option("seed", seed.ToString(System.Globalization.CultureInfo.InvariantCulture)));
                    Assert.Equal(expected, Run());
                    under.AssertNothingFound();
                }
            }
            finally
            {
                Assert.Equal(0, Cudasim.cudasim_set_option("seed", "0"));
            }
        }
    }

    /// <summary>y and dx do not depend on how many blocks there are; the sums of parameters do.</summary>
    [Fact]
    public void Results_per_row_do_not_depend_on_the_grid()
    {
        foreach (var node in Nodes("layer", [57, 260], 0, DType.F32))
        {
            var random = new System.Random(1);
            double[][] inputs = [.. node.Inputs.Select(t => NormKernelPair.Values(random, t))];
            double[] First(int processors) =>
                KernelRun.Outputs(under.Shared, CudaKernels.Create(node, NormKernelPair.Limits("lanes=64 threads=128 blocks=1") with { Multiprocessors = processors })!, inputs)[0];
            Assert.Equal(First(1), First(7));
        }
    }

    /// <summary>The norm and its gradient.</summary>
    private static Node[] Nodes(string norm, int[] shape, int groups, DType dtype)
    {
        var x = F.Input("x", dtype, new Shape(shape));
        var last = norm.EndsWith("last", StringComparison.Ordinal);
        Shape parameters = [last || norm is "layer" or "rms" ? shape[^1] : shape[1]];
        var (w, b) = (F.Input("w", DType.F32, parameters), F.Input("b", DType.F32, parameters));
        var y = norm.Split(' ')[0] switch
        {
            "layer" => F.LayerNorm(x, parameters, w, b),
            "rms" => F.RmsNorm(x, parameters, w, 1e-5),
            "group" => F.GroupNorm(x, groups, w, b, activation: last ? new Silu() : null, channelsLast: last),
            _ => F.InstanceNorm(x, null, null, w, b, channelsLast: last).Output,
        };
        var dx = Autodiff.VectorJacobian([y], [F.Input("dy", dtype, x.Shape)], [x])[0]!;
        return [y.Node, Traversal.Ancestors([dx]).Single(n => n.Op is RowNormBackwardOp)];
    }
}
