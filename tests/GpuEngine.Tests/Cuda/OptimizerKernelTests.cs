using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>Steps over flat arenas: masters with bf16 gradients and copies, clipping and step in one launch, norms by segment.</summary>
[Collection("device")]
public class OptimizerKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private static readonly OptimizerOp AdamW = new AdamOp(WeightDecay: 0.1, Decoupled: true);

    private static CudaLimits Limits => new() { Multiprocessors = 8 };

    [Theory]
    [InlineData(1, DType.BF16)]
    [InlineData(4103, DType.BF16)]
    [InlineData(4103, DType.F32)]
    public void A_bf16_copy_is_the_rounded_master(int size, DType gradType)
    {
        foreach (var rule in new[] { AdamW, new SgdOp(0.9), new SgdOp(), new AdamOp(Amsgrad: true) })
        {
            var node = Step(rule with { Copy = true }, size, gradType);
            var inputs = Inputs(node);
            var with = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, Limits)!, inputs);
            var without = KernelRun.Outputs(under.Shared, CudaKernels.Create(Step(rule, size, gradType), Limits)!, inputs);
            Assert.Equal(without, with[..^1]);
            Assert.Equal(ElementData.ToDoubles(DType.BF16, ElementData.FromDoubles(DType.BF16, with[0])), with[^1]);
            Assert.Equal(with, KernelRun.Outputs(under.Shared, CudaKernels.Create(node, Limits with { Variant = "naive" })!, inputs));
        }

        under.AssertNothingFound();
    }

    /// <summary>What a step moves: master, moments and copy, 28 bytes; all f32, 28; all bf16, 14.</summary>
    [Theory]
    [InlineData(DType.F32, DType.BF16, true, 28, 4)]
    [InlineData(DType.F32, DType.F32, false, 28, 4)]
    [InlineData(DType.BF16, DType.BF16, false, 14, 8)]
    public void A_step_moves_each_tensor_once_in_whole_vectors(DType paramType, DType gradType, bool copy, int bytes, int width)
    {
        CudaUnderTest.RequireSimulator();
        const int Size = 131072;
        var node = Step(AdamW with { Copy = copy }, Size, gradType, paramType);
        var kernel = (PlannedKernel)CudaKernels.Create(node, Limits)!;
        var counted = CountedTraffic.Of(under.Shared, kernel, Inputs(node));
        // Two threads of each block read the rate and the step, 16 bytes.
        Assert.InRange(counted.Bytes, (long)bytes * Size, (long)bytes * Size + 32 * 1024);
        Assert.True(counted.Sectors <= 1.01 * counted.FewestSectors, $"{counted.Sectors} sectors of {counted.FewestSectors}");
        var blocks = (long)kernel.Steps[0].Shape.Grid.Count;
        Assert.Equal((copy ? 8 : 7) * Size / (32 * width) + 4 * blocks, counted.Requests);
    }

    public static TheoryData<int, int, DType, string> ClippedCases => new()
    {
        { 1, 0, DType.F32, "adamw" }, { 40007, 0, DType.F32, "adamw" }, { 40007, 517, DType.F32, "adamw" }, { 40007, 517, DType.BF16, "adamw" },
        { 40000, 8, DType.BF16, "copy" }, { 40007, 3, DType.F32, "sgd" }, { 515, 40007, DType.F32, "amsgrad" },
    };

    private static readonly Dictionary<string, OptimizerOp> Rules = new()
    {
        ["adamw"] = AdamW,
        ["copy"] = AdamW with { Copy = true },
        ["sgd"] = new SgdOp(0.9, WeightDecay: 0.1, Nesterov: true),
        ["amsgrad"] = new AdamOp(Amsgrad: true, WeightDecay: 0.1),
    };

    /// <summary>
    /// Norm and step as one launch are the two launches, bit for bit but for the sum's order: and f64 sums of the same squares round to
    /// the same f32 norm here. Neither the order of threads and blocks nor their number changes a bit.
    /// </summary>
    [Theory]
    [MemberData(nameof(ClippedCases))]
    public void A_clipped_step_is_norm_and_step_whatever_the_schedule(int size, int biases, DType gradType, string rule)
    {
        CudaUnderTest.RequireSimulator();
        var node = Clipped(Rules[rule], size, biases, gradType);
        var op = (ClippedStepOp)node.Op;
        var inputs = Inputs(node);
        var expected = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, Limits)!, inputs);

        var norm = op.Norm.Apply([.. Enumerable.Range(0, op.Decays.Count).Select(g => node.Inputs[g * op.InputsPerGroup + 1])]);
        var factor = KernelRun.Outputs(under.Shared, CudaKernels.Create(norm, Limits)!, [.. norm.Inputs.Select(t => inputs[IndexOf(node, t)])]);
        Assert.Equal(factor, expected[(op.Decays.Count * op.OutputsPerGroup)..]);
        for (var g = 0; g < op.Decays.Count; g++)
        {
            Tensor[] own = [.. node.Inputs.Skip(g * op.InputsPerGroup).Take(op.InputsPerGroup), .. node.Inputs.TakeLast(2)];
            var step = (op.RuleOf(g) with { Clip = true }).Apply([.. own, norm.Outputs[1]]);
            var plain = KernelRun.Outputs(under.Shared, CudaKernels.Create(step, Limits)!, [.. own.Select(t => inputs[IndexOf(node, t)]), factor[1]]);
            Assert.Equal(plain, expected.Skip(g * op.OutputsPerGroup).Take(op.OutputsPerGroup));
        }

        try
        {
            for (var seed = 1; seed <= 20; seed++)
            {
                Assert.Equal(0, Cudasim.cudasim_set_option("seed", seed.ToString(System.Globalization.CultureInfo.InvariantCulture)));
                var limits = Limits with { Tuning = new Dictionary<string, int> { ["margin"] = seed % 8 } };
                Assert.Equal(expected, KernelRun.Outputs(under.Shared, CudaKernels.Create(node, limits)!, inputs, guard: 0));
            }
        }
        finally
        {
            Assert.Equal(0, Cudasim.cudasim_set_option("seed", "0"));
        }

        under.AssertNothingFound();
    }

    [Fact]
    public void A_clipped_step_reads_gradients_twice_and_all_else_once()
    {
        CudaUnderTest.RequireSimulator();
        const int Size = 400_000;
        var node = Clipped(AdamW, Size, 0, DType.F32);
        var kernel = (PlannedKernel)CudaKernels.Create(node, Limits)!;
        Assert.True(kernel.Steps[0].Shape.Cooperative);
        var counted = CountedTraffic.Of(under.Shared, kernel, Inputs(node));
        Assert.InRange(counted.Bytes, 32L * Size, (long)(32.3 * Size));
        Assert.InRange(kernel.Cost.Bytes, counted.Bytes * 0.999, counted.Bytes * 1.001);
        Assert.True(counted.Sectors <= 1.01 * counted.FewestSectors, $"{counted.Sectors} sectors of {counted.FewestSectors}");
        // All blocks are resident: a grid barrier with more would wait forever.
        Assert.True(kernel.Steps[0].Shape.Grid.Count <= 8 * 4);
    }

    /// <summary>Squares by segment, a NaN that shows in its own segment only, and the total that does not change because of them.</summary>
    [Fact]
    public void Norms_by_segment_come_with_the_norm()
    {
        Ints segments = [0, 16, 5000, 30000, 40000, 40008];
        var (grad, biases) = (F.Input("grad", DType.F32, [40000]), F.Input("biases", DType.F32, [17]));
        var random = new System.Random(3);
        double[][] inputs = [[.. Enumerable.Range(0, 40000).Select(_ => (double)(float)random.NextDouble())], [.. Enumerable.Repeat(0.5, 17)]];
        inputs[0][5003] = double.NaN;
        var node = new ClipGradNormOp(1) { Segments = segments }.Apply(grad, biases);
        var plain = new ClipGradNormOp(1).Apply(grad, biases);
        foreach (var bad in new[] { double.NaN, double.PositiveInfinity, 1e30, 0.25 })
        {
            inputs[0][5003] = bad;
            var outputs = KernelRun.Outputs(under.Shared, CudaKernels.Create(node, Limits)!, inputs);
            double[] all = [.. inputs[0], .. inputs[1]];
            for (var s = 0; s < segments.Count; s++)
            {
                var end = s + 1 < segments.Count ? segments[s + 1] : all.Length;
                var expected = all[segments[s]..end].Sum(x => (double)(float)x * (float)x);
                // Sums in f64, in another order.
                Assert.Equal(expected, outputs[3][s], 1e-12 * Math.Max(1, double.IsFinite(expected) ? expected : 1));
                Assert.Equal(double.IsFinite(expected) ? 1 : 0, outputs[4][s]);
            }

            var total = KernelRun.Outputs(under.Shared, CudaKernels.Create(plain, Limits)!, inputs);
            Assert.Equal(total, outputs[..3]);
        }

        under.AssertNothingFound();
    }

    [Fact]
    public void Parameters_and_states_are_replaced_where_they_lie()
    {
        Variable Arena(string name) => new(name, DType.F32, [4096], MemoryClass.Weights);
        var (param, first, second) = (Arena("param"), Arena("exp_avg"), Arena("exp_avg_sq"));
        var copy = new Variable("copy", DType.BF16, [4096], MemoryClass.Weights);
        var state = new Dictionary<string, Tensor> { ["exp_avg"] = first.Value, ["exp_avg_sq"] = second.Value };
        // The network reads the copy, so its gradient is bf16.
        var grad = copy.Value * F.Full([4096], 0.5, DType.BF16);
        var step = ClippedStepOp.Record(
            AdamW with { Copy = true }, [new StepGroup(param.Value, grad, state)], F.Scalar(0.1, DType.F64), F.Scalar(0, DType.I64), 1);
        var made = step.Groups[0];
        using var evaluation = new Evaluation(
            under.Shared, [new("norm", step.Clip.TotalNorm)],
            [new(param, made.Param), new(first, made.State["exp_avg"]), new(second, made.State["exp_avg_sq"]), new(copy, made.Copy!)]);
        Assert.DoesNotContain(evaluation.Executable.Plan.Launches, l => l.Node.Op is CopyOp);
        Assert.Single(evaluation.Executable.Plan.Launches, l => l.Node.Op is ClippedStepOp);
        evaluation.Variables.Write<ushort>(copy, [.. Enumerable.Repeat((ushort)0x3f80, 4096)]);
        evaluation.Run();
        // All entries 0.5, norm 32; one step of AdamW from zero moves by the rate, whatever the gradient's size.
        Assert.Equal(32, evaluation.Get("norm")[0]);
        Assert.All(evaluation.Variables.ReadArray<float>(param), w => Assert.Equal(-0.1, w, 1e-6));
        var bits = BitConverter.SingleToUInt32Bits(-0.1f);
        Assert.All(evaluation.Variables.ReadArray<ushort>(copy), w => Assert.Equal((ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16), w));
    }

    [Fact]
    public void What_the_kernels_do_not_have_is_left_to_the_decomposition()
    {
        Assert.Null(CudaKernels.Create(Clipped(AdamW, 100, 0, DType.F32), Limits with { SupportsCooperativeLaunch = false }));
        Assert.Null(CudaKernels.Create(Clipped(AdamW, 100, 0, DType.F32), Limits with { Variant = "naive" }));
        Assert.Null(CudaKernels.Create(Clipped(AdamW, 100, 7, DType.F64), Limits));
    }

    private static Node Step(OptimizerOp rule, int size, DType gradType, DType paramType = DType.F32) => rule.Apply(
    [
        F.Input("param", paramType, [size]), F.Input("grad", gradType, [size]), .. rule.StateNames.Select(n => F.Input(n, paramType, [size])),
        F.Input("lr", DType.F64, []), F.Input("step", DType.I64, []),
    ]);

    private static Node Clipped(OptimizerOp rule, int size, int biases, DType gradType)
    {
        var master = gradType == DType.F64 ? DType.F64 : DType.F32;
        Tensor[] Group(string name, int count) =>
        [
            F.Input(name, master, [count]), F.Input("grad " + name, gradType, [count]), .. rule.StateNames.Select(n => F.Input($"{n} {name}", master, [count])),
        ];
        Tensor[] inputs = [.. Group("w", size), .. biases > 0 ? Group("b", biases) : [], F.Input("lr", DType.F64, []), F.Input("step", DType.I64, [])];
        return new ClippedStepOp(rule, biases > 0 ? [1, 0] : [1], new ClipGradNormOp(1)).Apply(inputs);
    }

    private static double[][] Inputs(Node node)
    {
        var random = new System.Random(9);
        return
        [
            .. node.Inputs.Select(t => ((InputOp)t.Node.Op).InputName switch
            {
                "lr" => [0.1],
                "step" => [3.0],
                _ => Enumerable.Range(0, (int)t.Type.Elements).Select(_ => 0.1 + random.NextDouble()).ToArray(),
            }),
        ];
    }

    private static int IndexOf(Node node, Tensor input) => Enumerable.Range(0, node.Inputs.Count).First(i => node.Inputs[i] == input);
}
