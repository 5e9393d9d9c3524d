using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The variants of batch_norm and its gradient against the naive kernels, on the same device and in the same dtype: each planned and run by
/// itself, with a device small enough that groups of several blocks go through several rounds.
/// </summary>
[Collection("device")]
public class BatchNormKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>
    /// Both kernels work in f32; sums of up to 9000 numbers in another order differ by a few roundings of the largest result.
    /// </summary>
    private const double Tolerance = 2e-5;

    /// <summary>bf16 results may fall on either side of a rounding: one unit of the last place of the largest.</summary>
    private const double RoundedTolerance = 1.0 / 128;

    /// <summary>Random orders of threads and blocks.</summary>
    private const int Schedules = 20;

    /// <summary>Shape, channels last, activation with + a residual ("relu" keeps sign bits) and # counts, variant, tuned numbers.</summary>
    public static TheoryData<int[], bool, string, string, string> Cases => new()
    {
        // Rows of channels in the registers of one block, of two, of four; odd channels by scalars; half a slice; a batch that ends early.
        { [3, 1], false, "silu+", "small", "" }, { [37, 19], false, "relu+", "small", "" }, { [128, 72], false, "relu+", "small", "" },
        { [300, 24], false, "silu+", "small", "width=8" }, { [5, 9, 7, 40], true, "relu+", "small", "width=4" }, { [1000, 36], false, "relu", "small", "width=8 held=1" },
        { [523, 12], false, "none", "small", "" }, { [256, 2], false, "relu+", "small", "batch=2" },
        // Planes: vectors of 4 and 1, one block and two.
        { [3, 5, 4, 4], false, "relu+", "small", "" }, { [2, 3, 7, 7], false, "relu+", "small", "" }, { [5, 3, 34, 36], false, "silu+", "small", "" },
        { [6, 2, 2, 6], false, "relu+", "small", "" }, { [4, 2, 50, 60], false, "relu", "small", "held=1" },
        // Everything resident: one round and several; a last slice that is half empty; blocks with nothing; a group of one.
        { [600, 40], false, "relu+", "one_read", "width=2" }, { [3, 10, 23, 72], true, "relu+", "one_read", "" }, { [400, 72], false, "silu+", "one_read", "groups=1" },
        { [90, 7], false, "relu+", "one_read", "" }, { [9, 5, 16, 16], false, "relu+", "one_read", "" }, { [3, 4, 7, 9], false, "relu", "one_read", "" },
        { [64, 96], false, "none", "one_read", "groups=2" }, { [2, 3, 14, 14], false, "relu+", "one_read", "groups=3" },
        // Part of it read again: shared memory for two chunks of a tensor.
        { [1500, 20], false, "relu+", "one_read", "shared=14 threads=64 width=4" }, { [901, 72], false, "silu+", "one_read", "shared=14 threads=64" },
        { [7, 3, 40, 48], false, "relu+", "one_read", "shared=10 threads=64" }, { [5, 2, 33, 31], false, "silu+", "one_read", "shared=3 threads=64" },
        // Read twice: one piece, several.
        { [60, 24], false, "relu+", "two_read", "" }, { [3000, 12], false, "relu+", "two_read", "piece_blocks=8" }, { [999, 5], false, "silu+", "two_read", "piece_blocks=9" },
        { [3, 2, 50, 60], false, "relu+", "two_read", "piece_blocks=6" }, { [4, 11, 30, 24], true, "none", "two_read", "piece_blocks=20" },
        // Values above 0 are counted: one block and several of a slice, several rounds, part of it read again, planes.
        { [37, 19], false, "relu#", "small", "" }, { [1000, 36], false, "relu+#", "small", "width=8 held=1" }, { [5, 3, 34, 36], false, "relu#", "small", "" },
        { [600, 40], false, "relu+#", "one_read", "width=2" }, { [90, 7], false, "relu#", "one_read", "" }, { [901, 72], false, "silu+#", "one_read", "shared=14 threads=64" },
        { [5, 2, 33, 31], false, "relu#", "one_read", "shared=3 threads=64" }, { [3000, 12], false, "relu+#", "two_read", "piece_blocks=8" }, { [3, 2, 50, 60], false, "relu#", "two_read", "piece_blocks=6" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_variant_agrees_with_the_naive_one(int[] shape, bool channelsLast, string activation, string variant, string tuning)
    {
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var forward = Forward(shape, channelsLast, activation, dtype);
            var inputs = Values(forward);
            var limits = Limits(variant, tuning);
            var fast = (PlannedKernel)BatchNormLauncher.Forward(forward, limits)!;
            Assert.Contains(variant == "two_read" ? "statistics" : variant, fast.Requests[0].Entry, StringComparison.Ordinal);
            var results = Compare(fast, BatchNormLauncher.Forward(forward, Limits("naive"))!, inputs);

            var backward = Backward(forward);
            var gradients = (PlannedKernel)BatchNormBackwardLauncher.Create(backward, limits)!;
            Assert.Contains(variant == "two_read" ? "sums" : variant, gradients.Requests[0].Entry, StringComparison.Ordinal);
            double[][] given = [.. backward.Inputs.Select((t, i) => i is 2 or 3 ? results[i - 1] : i == 0 ? Values(t, 5) : Given(t))];
            Compare(gradients, BatchNormBackwardLauncher.Create(backward, Limits("naive"))!, given);

            double[] Given(Tensor t)
            {
                var at = forward.Inputs.ToList().IndexOf(t);
                return at >= 0 ? inputs[at] : results[forward.Outputs.ToList().IndexOf(t)];
            }
        }
    }

    /// <summary>One of each way that blocks work together: gates and rounds, parts read again, clusters, the last block of a slice.</summary>
    public static TheoryData<int[], string, string, string> Together => new()
    {
        { [130, 40], "relu+", "one_read", "threads=64 width=4 groups=2" }, { [300, 24], "relu+", "one_read", "shared=10 threads=64 width=2" },
        { [2, 5, 14, 14], "silu+", "one_read", "threads=64 groups=2" }, { [120, 20], "relu+", "small", "threads=64 width=4 held=1" },
        { [400, 12], "relu+", "two_read", "threads=64 piece_blocks=8" },
        { [130, 40], "relu+#", "one_read", "threads=64 width=4 groups=2" }, { [120, 20], "relu#", "small", "threads=64 width=4 held=1" },
        { [400, 12], "relu#", "two_read", "threads=64 piece_blocks=8" },
    };

    [Theory]
    [MemberData(nameof(Together))]
    public void No_schedule_changes_a_bit(int[] shape, string activation, string variant, string tuning)
    {
        CudaUnderTest.RequireSimulator();
        var forward = Forward(shape, false, activation, DType.F32);
        var backward = Backward(forward);
        var limits = Limits(variant, tuning);
        var (x, dy) = (Values(forward), Values(backward));
        if (backward.Inputs[^1].DType == DType.U8) dy[^1] = [.. dy[^1].Select((_, i) => (double)(i * 37 % 256))];
        CudaKernel NewForward() => BatchNormLauncher.Forward(forward, limits)!;
        CudaKernel NewBackward() => BatchNormBackwardLauncher.Create(backward, limits)!;
        var expected = (KernelRun.Outputs(under.Shared, NewForward(), x), KernelRun.Outputs(under.Shared, NewBackward(), dy));
        try
        {
            for (var seed = 1; seed <= Schedules; seed++)
            {
                Assert.Equal(0, Cudasim.cudasim_set_option("seed", seed.ToString(System.Globalization.CultureInfo.InvariantCulture)));
                Assert.Equal(expected.Item1, KernelRun.Outputs(under.Shared, NewForward(), x));
                Assert.Equal(expected.Item2, KernelRun.Outputs(under.Shared, NewBackward(), dy));
                under.AssertNothingFound();
            }
        }
        finally
        {
            Assert.Equal(0, Cudasim.cudasim_set_option("seed", "0"));
        }
    }

    /// <summary>The counters of gates and of last blocks need no reset: a second launch finds them as the first did.</summary>
    [Theory]
    [MemberData(nameof(Together))]
    public void A_second_launch_repeats_the_first(int[] shape, string activation, string variant, string tuning)
    {
        var forward = Forward(shape, false, activation, DType.F32);
        var kernel = BatchNormLauncher.Forward(forward, Limits(variant, tuning))!;
        var x = Values(forward);
        var once = KernelRun.Outputs(under.Shared, kernel, x);
        Assert.Equal(once, KernelRun.Outputs(under.Shared, BatchNormLauncher.Forward(forward, Limits(variant, tuning))!, x, launches: 3));
    }

    /// <summary>
    /// flash-attention's rule: at most twice the error of the plain computation in the same dtype, plus 16 roundings of the largest value
    /// (see OracleCheck).
    /// </summary>
    [Theory]
    [InlineData(300, 24, "small", "width=2")]
    [InlineData(3000, 8, "one_read", "threads=64 shared=14")]
    [InlineData(1000, 40, "one_read", "groups=2")]
    [InlineData(2000, 16, "two_read", "piece_blocks=8")]
    public void Errors_are_at_most_twice_those_of_the_plain_computation(int rows, int channels, string variant, string tuning)
    {
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var forward = Forward([rows, channels], true, "silu+", dtype);
            double[][] inputs = [.. Values(forward).Select((v, i) => Core.Devices.ElementData.ToDoubles(forward.Inputs[i].DType, Core.Devices.ElementData.FromDoubles(forward.Inputs[i].DType, v)))];
            var actual = KernelRun.Outputs(under.Shared, BatchNormLauncher.Forward(forward, Limits(variant, tuning))!, inputs);
            var (truth, plain) = (OnCpu(DType.F64), OnCpu(dtype));
            for (var k = 0; k < truth.Length; k++)
            {
                var largest = truth[k].Max(Math.Abs);
                double Worst(double[] found) => found.Zip(truth[k], (a, b) => Math.Abs(a - b)).Max();
                var allowed = 2 * Worst(plain[k]) + 16 * Core.Verification.OracleCheck.Epsilon(forward.Outputs[k].DType) * largest;
                Assert.True(Worst(actual[k]) <= allowed, $"{variant} in {dtype}, output {k}: error {Worst(actual[k])}, allowed {allowed}");
            }

            double[][] OnCpu(DType type)
            {
                using var device = new Core.Cpu.CpuDevice(1, useFusedKernels: false);
                var wide = type == DType.F64;
                Tensor[] given = [.. forward.Inputs.Select((t, i) => F.Input($"i{i}", wide ? DType.F64 : t.DType, t.Shape))];
                using var run = new Core.Devices.Evaluation(device, [.. forward.Op.Apply(given).Outputs.Select((t, i) => new NamedTensor($"o{i}", t))]);
                for (var i = 0; i < inputs.Length; i++) run.Set($"i{i}", inputs[i]);
                run.Run();
                return [.. forward.Outputs.Select((_, i) => run.Get($"o{i}"))];
            }
        }
    }

    [Theory]
    [InlineData("small", "")]
    [InlineData("one_read", "threads=64")]
    [InlineData("two_read", "threads=64 piece_blocks=4")]
    public void A_mean_of_a_thousand_deviations_stays_right_to_1e_minus_4(string variant, string tuning)
    {
        // The mean of f32 values near 1000 is rounded to 3e-5, which every normalised value inherits; E[x^2] - E[x]^2 would err by 0.06.
        const double Allowed = 1e-4;
        var node = new BatchNormOp(true, 0.1, 1e-5, false, false).Apply(F.Input("x", DType.F32, [700, 8]));
        var random = new System.Random(1);
        double[] x = [.. Enumerable.Range(0, 5600).Select(_ => (double)(float)(1000 + Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(7 * random.NextDouble())))];
        var y = KernelRun.Outputs(under.Shared, BatchNormLauncher.Forward(node, Limits(variant, tuning))!, [x])[0];
        for (var c = 0; c < 8; c++)
        {
            var values = Enumerable.Range(0, 700).Select(r => x[8 * r + c]).ToArray();
            var mean = values.Average();
            var invstd = 1 / Math.Sqrt(values.Average(v => (v - mean) * (v - mean)) + 1e-5);
            for (var r = 0; r < 700; r++) Assert.Equal((values[r] - mean) * invstd, y[8 * r + c], Allowed);
        }
    }

    [Fact]
    public void F64_and_empty_batches_are_left_to_the_decomposition()
    {
        var limits = new CudaLimits();
        Assert.Null(CudaKernels.Create(new BatchNormOp(true, 0.1, 1e-5, false, false).Apply(F.Input("x", DType.F64, [4, 4])), limits));
        Assert.Null(CudaKernels.Create(new BatchNormOp(true, 0.1, 1e-5, false, false).Apply(F.Input("x", DType.F32, [0, 4])), limits));
        Assert.Null(CudaKernels.Create(new BatchNormOp(true, 0.1, 1e-5, false, false, ChannelsLast: true).Apply(F.Input("x", DType.BF16, [3, 0, 4])), limits));
    }

    /// <summary>Four multiprocessors; "shared" stands for so many KiB of shared memory in a block.</summary>
    internal static CudaLimits Limits(string? variant, string tuning = "")
    {
        var numbers = tuning.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(p => p.Split('=')).ToDictionary(p => p[0], p => int.Parse(p[1]));
        var limits = new CudaLimits { Multiprocessors = 4, Variant = variant, Tuning = numbers };
        return numbers.TryGetValue("shared", out var kilobytes) ? limits with { SharedBytesPerBlockOptIn = 2048 * kilobytes } : limits;
    }

    /// <summary>A training node with everything; a "+" after the activation's name adds a residual.</summary>
    internal static Node Forward(int[] shape, bool channelsLast, string activation, DType dtype)
    {
        var x = F.Input("x", dtype, new Shape(shape));
        Tensor Parameter(string name) => F.Input(name, DType.F32, [channelsLast ? shape[^1] : shape[1]]);
        Activation? f = activation.TrimEnd('+', '#') switch { "relu" => new Relu(), "silu" => new Silu(), _ => null };
        var residual = activation.Contains('+', StringComparison.Ordinal);
        var op = new BatchNormOp(true, 0.1, 1e-5, true, true, f, Residual: residual, ChannelsLast: channelsLast, Counts: activation.EndsWith('#'));
        Tensor[] last = residual ? [F.Input("r", dtype, x.Shape)] : [];
        return op.Apply([x, Parameter("w"), Parameter("b"), Parameter("m"), Parameter("v"), .. last]);
    }

    /// <summary>The gradient op of a training node, as autodiff records it.</summary>
    internal static Node Backward(Node forward)
    {
        var dy = F.Input("dy", forward.Inputs[0].DType, forward.Inputs[0].Shape);
        return Autodiff.VectorJacobian([forward.Outputs[0]], [dy], [forward.Inputs[0]])[0]!.Node;
    }

    internal static double[][] Values(Node node) => [.. node.Inputs.Select((t, i) => Values(t, i))];

    private double[][] Compare(CudaKernel fast, CudaKernel naive, double[][] inputs)
    {
        var (actual, expected) = (KernelRun.Outputs(under.Shared, fast, inputs), KernelRun.Outputs(under.Shared, naive, inputs));
        for (var k = 0; k < expected.Length; k++)
        {
            var largest = expected[k].Max(Math.Abs);
            var tolerance = fast.Node.Outputs[k].DType switch { DType.F32 => Tolerance, DType.BF16 => RoundedTolerance, _ => 0 };
            for (var i = 0; i < expected[k].Length; i++)
            {
                Assert.True(
                    Math.Abs(actual[k][i] - expected[k][i]) <= tolerance * largest,
                    $"{fast.Requests[0].Entry} {fast.Node.Outputs[k]}, output {k}[{i}]: {actual[k][i]} instead of {expected[k][i]}");
            }
        }

        under.AssertNothingFound();
        return expected;
    }

    /// <summary>
    /// x and the parameters in [0.5, 4): away from 0, so that variances are usable as they are and means are not small beside deviations. The
    /// residual and dy in steps of 1/8 of either sign: with an x that is rounded to f32, no pre-activation lies at the kink of relu.
    /// </summary>
    private static double[] Values(Tensor tensor, int index)
    {
        var random = new System.Random(index + 3);
        return tensor.Type.DType == DType.F32 && tensor.Rank == 1 || index == 0
            ? [.. Enumerable.Range(0, (int)tensor.Type.Elements).Select(_ => 0.5 + 3.5 * random.NextDouble())]
            : [.. Enumerable.Range(0, (int)tensor.Type.Elements).Select(_ => (random.Next(33) - 16) / 8.0)];
    }
}
