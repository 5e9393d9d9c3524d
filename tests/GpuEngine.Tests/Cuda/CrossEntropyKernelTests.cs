using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The cross entropy kernels, each way of taking a row forced by tuning so that small shapes reach it: against the naive kernels, under
/// random schedules, and what they move.
/// </summary>
[Collection("device")]
public class CrossEntropyKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>
    /// Exponentials of the fast kernels err by 2^-22 on a device, and sums of up to 2000 terms in another order by a few roundings: of the
    /// tensor's largest value.
    /// </summary>
    private const double Tolerance = 2e-6;

    /// <summary>Logits, op and the tuning that leads to a path of the kernels; 8 multiprocessors, so that blocks take several rows.</summary>
    public static TheoryData<string> Cases => new(AllCases.Keys);

    private static readonly Dictionary<string, Case> AllCases = new()
    {
        ["small"] = new([700, 10]),
        ["small, 16 classes"] = new([70, 16], Smoothing: 0.1, Weighted: true),
        ["small, many tiles"] = new([3000, 5], Tuning: new() { ["threads"] = 32 }, Weighted: true),
        ["small, 40 classes"] = new([50, 40], Variant: "small"),
        ["planes"] = new([3, 7, 70]),
        ["planes, vectors"] = new([3, 33, 16], Smoothing: 0.1),
        ["quarter of a warp"] = new([90, 64]),
        ["warp"] = new([90, 100], Weighted: true),
        ["warp, odd classes"] = new([40, 101], Smoothing: 0.1, Weighted: true),
        ["block"] = new([9, 700], Tuning: new() { ["lanes"] = 64, ["held"] = 3 }),
        ["block, odd classes"] = new([9, 701], Tuning: new() { ["lanes"] = 128, ["threads"] = 128, ["held"] = 3 }),
        ["stages"] = new([70, 516], Tuning: new() { ["lanes"] = 64, ["threads"] = 128, ["held"] = 3, ["blocks"] = 1, ["stages"] = 2 }),
        ["stages, odd classes"] = new([50, 1031], Tuning: new() { ["lanes"] = 64, ["threads"] = 64, ["held"] = 5, ["blocks"] = 1, ["stages"] = 4 }, Smoothing: 0.1),
        ["two reads"] = new([30, 516], "two_read", new() { ["lanes"] = 32, ["threads"] = 64, ["held"] = 2, ["blocks"] = 1, ["stages"] = 3 }),
        ["two reads, odd classes"] = new([9, 1031], "two_read", new() { ["lanes"] = 64, ["threads"] = 128, ["held"] = 2 }, Smoothing: 0.1, Weighted: true),
        ["sum"] = new([90, 100], Reduction: Reduction.Sum),
        ["one class"] = new([33, 1]),
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_path_agrees_with_the_naive_kernels(string name)
    {
        var c = AllCases[name];
        foreach (var node in c.Nodes(DType.F32))
        {
            var inputs = c.Inputs(node);
            var actual = KernelRun.Outputs(under.Shared, c.Plan(node), inputs);
            var expected = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, c.Limits with { Variant = "naive" })!, inputs);
            for (var k = 0; k < expected.Length; k++) AssertClose(expected[k], actual[k], $"{node.Op.Name}, output {k}");
        }

        under.AssertNothingFound();
    }

    /// <summary>The gradient and the count do not depend on how many blocks there are; the loss is a sum by block.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void No_schedule_and_no_number_of_blocks_changes_a_bit(string name)
    {
        CudaUnderTest.RequireSimulator();
        var c = AllCases[name];
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var node = c.Nodes(dtype)[0];
            var inputs = c.Inputs(node);
            var expected = KernelRun.Outputs(under.Shared, c.Plan(node), inputs);
            try
            {
                for (var seed = 1; seed <= 20; seed++)
                {
                    Set("seed", seed);
                    Assert.Equal(expected, KernelRun.Outputs(under.Shared, c.Plan(node), inputs, guard: 0));
                }
            }
            finally
            {
                Set("seed", 0);
            }

            under.AssertNothingFound();
            // With two multiprocessors left alone of eight, and with all but one.
            foreach (var margin in new[] { 2, 7 })
            {
                var other = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, c.With("margin", margin))!, inputs);
                Assert.Equal(expected[1..], other[1..]);
                AssertClose(expected[0], other[0], "loss");
            }
        }
    }

    [Fact]
    public void Counters_are_left_as_they_were_found()
    {
        // Twice in one plan, and the plan twice: counts of an earlier launch would show in the divisor.
        var x = F.Input("x", DType.F32, [700, 10]);
        var target = F.Input("target", DType.I32, [700]);
        var (a, b) = (F.CrossEntropyWithGradient(x, target), F.CrossEntropyWithGradient(x * 2.0, target));
        using var evaluation = new Core.Devices.Evaluation(under.Shared, [new("a", a.Loss), new("b", b.Gradient)]);
        var random = new System.Random(5);
        evaluation.Set("x", [.. Enumerable.Range(0, 7000).Select(_ => random.NextDouble())]);
        evaluation.Set("target", [.. Enumerable.Range(0, 700).Select(i => (double)(i % 11 == 10 ? -100 : i % 10))]);
        evaluation.Run();
        var (first, second) = (evaluation.Get("a"), evaluation.Get("b"));
        for (var i = 0; i < 3; i++)
        {
            evaluation.Run();
            Assert.Equal(first, evaluation.Get("a"));
            Assert.Equal(second, evaluation.Get("b"));
        }
    }

    [Theory]
    [InlineData("small")]
    [InlineData("warp, odd classes")]
    [InlineData("stages, odd classes")]
    [InlineData("two reads, odd classes")]
    public void Targets_that_are_ignored_or_no_class_and_logits_that_are_not_finite(string name)
    {
        var c = AllCases[name];
        var node = c.Nodes(DType.F32)[0];
        var classes = c.Shape[1];
        foreach (var spoil in new Action<double[], double[]>[]
        {
            (_, t) => Array.Fill(t, -100),
            (_, t) => t[3] = classes,
            (_, t) => t[3] = -1,
            (x, _) => x[classes + 1] = double.NaN,
            (x, _) => x[classes + 1] = double.NegativeInfinity,
            (x, _) => Array.Fill(x, double.NegativeInfinity, classes, classes),
            (x, _) => Array.Fill(x, -3.4e38, classes, classes),
            (x, _) => x[classes + 2] = double.PositiveInfinity,
            (x, _) => Array.Fill(x, 1000),
        })
        {
            var inputs = c.Inputs(node);
            spoil(inputs[0], inputs[1]);
            var actual = KernelRun.Outputs(under.Shared, c.Plan(node), inputs);
            var expected = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, c.Limits with { Variant = "naive" })!, inputs);
            for (var k = 0; k < expected.Length; k++) AssertClose(expected[k], actual[k], $"output {k}");
        }
    }

    /// <summary>The floor: logits once, gradient once, targets. Rows of broken vectors share a sector with their neighbours.</summary>
    [Theory]
    [InlineData("16384 of 10", 4096, 10, 1.02, 1.05)]
    [InlineData("f32 whole lines", 256, 1024, 1.02, 1.01)]
    [InlineData("of 100", 512, 100, 1.02, 1.05)]
    [InlineData("odd", 128, 1001, 1.02, 1.05)]
    [InlineData("of a block", 16, 20000, 1.02, 1.01)]
    public void Logits_are_read_once_and_gradients_written_once(string what, int rows, int classes, double most, double mostSectors)
    {
        CudaUnderTest.RequireSimulator();
        var c = new Case([rows, classes]);
        foreach (var node in c.Nodes(DType.F32))
        {
            var kernel = (PlannedKernel)c.Plan(node);
            var counted = CountedTraffic.Of(under.Shared, kernel, c.Inputs(node));
            double floor = node.Op.Cost(node).Bytes;
            Assert.True(counted.Bytes <= most * floor, $"{what}, {node.Op.Name}: {counted.Bytes} bytes of {floor}");
            Assert.True(Math.Abs(counted.Bytes - kernel.Cost.Bytes) <= 0.005 * counted.Bytes, $"{what}, {node.Op.Name}: {counted.Bytes} bytes, claimed {kernel.Cost.Bytes}");
            Assert.True(counted.Sectors <= mostSectors * counted.FewestSectors, $"{what}, {node.Op.Name}: {counted.Sectors} sectors of {counted.FewestSectors}");
            Assert.True(counted.BankWays <= 2, $"{what}, {node.Op.Name}: {counted.BankWays} accesses to one bank");
        }
    }

    private static void AssertClose(double[] expected, double[] actual, string what)
    {
        var largest = expected.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty(0).Max();
        for (var i = 0; i < expected.Length; i++)
        {
            var same = expected[i].Equals(actual[i]) || Math.Abs(expected[i] - actual[i]) <= Tolerance * largest;
            Assert.True(same, $"{what}[{i}]: {actual[i]} instead of {expected[i]}");
        }
    }

    private static void Set(string option, int value) =>
        Assert.Equal(0, Cudasim.cudasim_set_option(option, value.ToString(System.Globalization.CultureInfo.InvariantCulture)));

    private sealed record Case(
        int[] Shape, string? Variant = null, Dictionary<string, int>? Tuning = null, double Smoothing = 0, bool Weighted = false,
        Reduction Reduction = Reduction.Mean)
    {
        public CudaLimits Limits => new() { Multiprocessors = 8, Variant = Variant, Tuning = Tuning ?? [] };

        public CudaLimits With(string name, int value) => Limits with { Tuning = new Dictionary<string, int>(Tuning ?? []) { [name] = value } };

        public CudaKernel Plan(Node node) => CudaKernels.Create(node, Limits)!;

        /// <summary>The op with its gradient, the op alone and its backward op.</summary>
        public Node[] Nodes(DType dtype)
        {
            var x = F.Input("x", dtype, new Shape(Shape));
            var target = F.Input("target", DType.I64, new Shape([.. Shape.Where((_, i) => i != 1)]));
            Tensor[] inputs = Weighted ? [x, target, F.Input("weight", dtype, [Shape[1]])] : [x, target];
            var plain = new CrossEntropyOp(Reduction, 4, Smoothing, Weighted, false);
            var forward = plain.Apply(inputs);
            return
            [
                new CrossEntropyWithGradientOp(Reduction, 4, Smoothing, Weighted).Apply(inputs), forward,
                new CrossEntropyBackwardOp(plain).Apply([F.Input("dy", dtype, []), .. inputs, .. forward.Outputs.Skip(1)]),
            ];
        }

        /// <summary>Logits on a coarse grid, so that maxima are met twice; every class once in a while the target.</summary>
        public double[][] Inputs(Node node)
        {
            var random = new System.Random(11);
            var classes = Shape[1];
            return
            [
                .. node.Inputs.Select(t => Enumerable.Range(0, (int)t.Type.Elements).Select(i => t.Node.Op is InputOp { InputName: var name }
                    ? name switch
                    {
                        "x" => Math.Round(16 * random.NextDouble()) / 4,
                        "target" => i % 3 == 0 && random.Next(2) == 0 ? 4 : random.Next(classes),
                        "weight" => 0.25 + (random.Next(8) / 4.0),
                        _ => 0.5,
                    }
                    // What the forward pass would have found, roughly: the two kernels get the same.
                    : t.Index == 3 ? 40 : t.Index == 2 ? 2.5 : 4.0).ToArray()),
            ];
        }
    }
}
