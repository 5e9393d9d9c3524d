using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The naive batch_norm kernels as second oracle of the fast ones, on the same device and in the same dtype: each planned and run
/// by itself, so that a shape reaches exactly one variant.
/// </summary>
[Collection("device")]
public class BatchNormKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>
    /// Both variants work in f32; sums of up to 9000 numbers in another order differ by a few roundings of the largest result.
    /// </summary>
    private const double Tolerance = 2e-5;

    public static TheoryData<int[], string> Shapes => new()
    {
        { [2, 1], "batch_norm_forward" }, { [37, 19], "batch_norm_forward" }, { [128, 512], "batch_norm_forward" }, { [256, 24], "batch_norm_forward" },
        { [9000, 4], "batch_norm_statistics" }, { [3, 70, 8, 8], "batch_norm_forward" }, { [6, 2, 50, 60], "batch_norm_statistics" },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Fast_variants_agree_with_the_naive_one(int[] shape, string first)
    {
        var x = F.Input("x", DType.F32, new Shape(shape));
        var channel = new Shape(shape[1]);
        Tensor Parameter(string name) => F.Input(name, DType.F32, channel);
        var op = new BatchNormOp(true, 0.1, 1e-5, true, true, new Silu(), Residual: true);
        var node = op.Apply(x, Parameter("w"), Parameter("b"), Parameter("m"), Parameter("v"), F.Input("r", DType.F32, x.Shape));
        var random = new System.Random(3);
        double[][] inputs = [.. node.Inputs.Select(t => Values(random, t.Type.Elements))];
        var fast = BatchNormLauncher.Forward(node, new CudaLimits())!;
        Assert.Equal(first, fast.Requests[0].Entry);
        var forward = Compare(fast, BatchNormLauncher.NaiveForward(node, new CudaLimits())!, inputs);

        var backward = new BatchNormBackwardOp(true, true, new Silu(), true).Apply(
            F.Input("dy", DType.F32, x.Shape), x, node.Outputs[1], node.Outputs[2], node.Inputs[1], node.Inputs[2], node.Inputs[5]);
        double[][] more = [Values(random, x.Type.Elements), inputs[0], forward[1], forward[2], inputs[1], inputs[2], inputs[5]];
        Compare(BatchNormLauncher.Backward(backward, new CudaLimits())!, BatchNormLauncher.NaiveBackward(backward, new CudaLimits())!, more);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(132)]
    public void The_plan_does_not_depend_on_the_device(int multiprocessors)
    {
        var x = F.Input("x", DType.F32, [3000, 64]);
        var node = new BatchNormOp(true, 0.1, 1e-5, false, false).Apply(x);
        var plan = (PlannedKernel)BatchNormLauncher.Forward(node, new CudaLimits { Multiprocessors = multiprocessors })!;
        var usual = (PlannedKernel)BatchNormLauncher.Forward(node, new CudaLimits())!;
        Assert.Equal(usual.Steps.Select(s => s.Shape), plan.Steps.Select(s => s.Shape));
    }

    [Fact]
    public void F64_and_empty_batches_are_left_to_the_decomposition()
    {
        var limits = new CudaLimits();
        Assert.Null(CudaKernels.Create(new BatchNormOp(true, 0.1, 1e-5, false, false).Apply(F.Input("x", DType.F64, [4, 4])), limits));
        Assert.Null(CudaKernels.Create(new BatchNormOp(true, 0.1, 1e-5, false, false).Apply(F.Input("x", DType.F32, [0, 4])), limits));
    }

    private double[][] Compare(CudaKernel fast, CudaKernel naive, double[][] inputs)
    {
        var (actual, expected) = (KernelRun.Outputs(under.Shared, fast, inputs), KernelRun.Outputs(under.Shared, naive, inputs));
        for (var k = 0; k < expected.Length; k++)
        {
            var largest = expected[k].Max(Math.Abs);
            for (var i = 0; i < expected[k].Length; i++)
            {
                Assert.True(
                    Math.Abs(actual[k][i] - expected[k][i]) <= Tolerance * largest,
                    $"{fast.Requests[0].Entry}, output {k}[{i}]: {actual[k][i]} instead of {expected[k][i]}");
            }
        }

        return expected;
    }

    /// <summary>In [0.5, 4): away from 0, so that variances are usable as they are and means are not small beside deviations.</summary>
    private static double[] Values(System.Random random, long count) => [.. Enumerable.Range(0, (int)count).Select(_ => 0.5 + 3.5 * random.NextDouble())];
}
