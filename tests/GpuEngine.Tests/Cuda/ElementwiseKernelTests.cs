using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// bias_act, dropout, prelu, srelu, maxout and softmax by themselves: the naive kernels as second oracle, masks against the
/// generator, sums under random schedules, and traffic against the floor.
/// </summary>
[Collection("device")]
public class ElementwiseKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private const int Schedules = 20;

    private static readonly Dictionary<string, Func<DType, Shape, Node>> Nodes = new()
    {
        ["bias_act"] = (dtype, shape) => Act(dtype, shape, new Gelu(), residual: true),
        ["bias_act relu"] = (dtype, shape) => Act(dtype, shape, new Relu(), residual: false),
        ["bias_act flat"] = (dtype, shape) => F.BiasAct(X(dtype, shape), null, new Silu(), new DropoutOp(0.2, 1), State()).Output.Node,
        ["bias_act counts"] = (dtype, shape) => F.BiasAct(X(dtype, shape), Channel("b", dtype, shape), new Relu(), counts: true).Output.Node,
        ["bias_act_backward"] = (dtype, shape) => BackwardOf(Act(dtype, shape, new Gelu(), residual: true)),
        ["bias_act_backward relu"] = (dtype, shape) => BackwardOf(Act(dtype, shape, new Relu(), residual: false)),
        ["bias_act_backward adds"] = (dtype, shape) => new BiasActBackwardOp(new Gelu(), new DropoutOp(0.25, 3), 1, true, false, true).Apply(
            F.Input("dy", dtype, shape), X(dtype, shape), Channel("b", dtype, shape), F.Input("r", dtype, shape), State()),
        ["bias_act_backward flat"] = (dtype, shape) => new BiasActBackwardOp(new Silu(), null, 1, false, false, true).Apply(
            F.Input("dy", dtype, shape), X(dtype, shape), F.Input("r", dtype, shape)),
        ["dropout"] = (dtype, shape) => F.Dropout(X(dtype, shape), 0.3, true, State(), 2).Node,
        ["prelu"] = (dtype, shape) => F.PRelu(X(dtype, shape), Channel("w", dtype, shape)).Node,
        ["prelu_backward"] = (dtype, shape) => BackwardOf(F.PRelu(X(dtype, shape), Channel("w", dtype, shape)).Node),
        ["srelu_backward"] = (dtype, shape) => BackwardOf(F.SRelu(
            X(dtype, shape), Channel("t_r", dtype, shape), Channel("a_r", dtype, shape), Channel("t_l", dtype, shape), Channel("a_l", dtype, shape)).Node),
        ["maxout"] = (dtype, shape) => F.Maxout(X(dtype, shape), 2).Node,
        ["maxout_backward"] = (dtype, shape) => BackwardOf(F.Maxout(X(dtype, shape), 2).Node),
        ["softmax"] = (dtype, shape) => F.Softmax(X(dtype, shape), 1).Node,
        ["softmax_backward"] = (dtype, shape) => BackwardOf(F.Softmax(X(dtype, shape), 1).Node),
        ["gelu_backward"] = (dtype, shape) => BackwardOf(F.Gelu(X(dtype, shape)).Node),
    };

    /// <summary>By columns with one piece and several, and by planes.</summary>
    public static TheoryData<string, int[]> Cases()
    {
        var data = new TheoryData<string, int[]>();
        foreach (var name in Nodes.Keys)
        {
            data.Add(name, [37, 6]);
            data.Add(name, [1500, 12]);
            data.Add(name, [6, 4, 25, 24]);
        }

        return data;
    }

    /// <summary>
    /// Both work in f32 and round once; sums of up to 3600 terms in another order differ by some roundings of the largest of them,
    /// and bf16 results by one unit in the last place, 2^-8.
    /// </summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void Fast_variants_agree_with_the_naive_ones(string name, int[] shape)
    {
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var node = Nodes[name](dtype, new Shape(shape));
            var inputs = Values(node);
            var fast = Plan(node, new CudaLimits());
            var naive = Plan(node, new CudaLimits { Variant = "naive" });
            if (name != "bias_act counts" && name != "prelu" && name != "gelu_backward") Assert.EndsWith("_naive", naive.Requests[0].Entry);
            Assert.DoesNotContain("_naive", fast.Requests[0].Entry, StringComparison.Ordinal);
            var (actual, expected) = (KernelRun.Outputs(under.Shared, fast, inputs), KernelRun.Outputs(under.Shared, naive, inputs));
            for (var k = 0; k < expected.Length; k++)
            {
                var allowed = expected[k].Max(Math.Abs) * (dtype == DType.F32 ? 2e-5 : 1.0 / 256);
                Assert.All(expected[k].Zip(actual[k]), p => Assert.Equal(p.First, p.Second, allowed));
            }
        }
    }

    /// <summary>Sixteen-byte vectors, two elements, one, and by planes; the mask is that of the CPU's generator to the bit.</summary>
    [Theory]
    [InlineData(DType.F32, 500, 16)]
    [InlineData(DType.BF16, 500, 16)]
    [InlineData(DType.BF16, 77, 6)]
    [InlineData(DType.F32, 40, 33)]
    [InlineData(DType.F32, 3, 5, 7)]
    [InlineData(DType.BF16, 3, 5, 6, 4)]
    public void The_mask_is_the_generators(DType dtype, params int[] dims)
    {
        var shape = new Shape(dims);
        var uniform = new float[shape.Elements];
        Philox.FillUniform(uniform, 21, 5, 3);
        double[] ones = [.. Enumerable.Repeat(1.0, uniform.Length)], zeros = new double[dims[1]], state = [21, 3];
        var dropout = new DropoutOp(0.3, 5);
        var forward = F.BiasAct(X(dtype, shape), Channel("b", dtype, shape), null, dropout, State()).Output.Node;
        var backward = new BiasActBackwardOp(new Gelu(), dropout, 1, true, false).Apply(X(dtype, shape), X(dtype, shape), Channel("b", dtype, shape), State());
        foreach (var limits in new[] { new CudaLimits(), new CudaLimits { Variant = "naive" } })
        {
            var y = KernelRun.Outputs(under.Shared, Plan(forward, limits), [ones, zeros, state])[0];
            Assert.Equal(uniform.Select(u => u >= 0.3f), y.Select(v => v != 0));
            var dx = KernelRun.Outputs(under.Shared, Plan(backward, limits), [ones, ones, zeros, state])[0];
            Assert.Equal(uniform.Select(u => u >= 0.3f), dx.Select(v => v != 0));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Neither_schedule_nor_device_changes_a_bit(string name, int[] shape)
    {
        CudaUnderTest.RequireSimulator();
        var node = Nodes[name](DType.F32, new Shape(shape));
        var inputs = Values(node);
        var expected = KernelRun.Outputs(under.Shared, Plan(node, new CudaLimits()), inputs);
        Set("check", "memory,race");
        try
        {
            Cudasim.cudasim_findings_clear();
            for (var seed = 1; seed <= Schedules; seed++)
            {
                Set("seed", seed.ToString(CultureInfo.InvariantCulture));
                var limits = new CudaLimits { Multiprocessors = seed };
                Assert.Equal(expected, KernelRun.Outputs(under.Shared, Plan(node, limits), inputs, guard: 0));
                Assert.True(Cudasim.cudasim_finding_count(null) == 0, Findings());
            }
        }
        finally
        {
            Cudasim.cudasim_findings_clear();
            Set("check", "none");
            Set("seed", "0");
        }
    }

    public static TheoryData<string, DType, int[]> Traffic()
    {
        var data = new TheoryData<string, DType, int[]>();
        foreach (var name in Nodes.Keys)
        {
            foreach (var dtype in new[] { DType.F32, DType.BF16 })
            {
                data.Add(name, dtype, [2048, 128]);
                data.Add(name, dtype, [16, 16, 32, 32]);
            }
        }

        return data;
    }

    /// <summary>Tensors read and written once; numbers of channels, the generator and pieces of sums within 2 % of that.</summary>
    [Theory]
    [MemberData(nameof(Traffic))]
    public void Traffic_is_the_floor_and_what_the_cost_says(string name, DType dtype, int[] shape)
    {
        CudaUnderTest.RequireSimulator();
        var node = Nodes[name](dtype, new Shape(shape));
        var kernel = Plan(node, new CudaLimits());
        var inputs = Values(node);
        Set("check", "traffic");
        try
        {
            Cudasim.cudasim_counters_clear();
            KernelRun.Outputs(under.Shared, kernel, inputs);
            using var json = JsonDocument.Parse(Counters());
            var launch = Assert.Single(json.RootElement.EnumerateArray());
            long Of(string counter) => launch.GetProperty(counter).GetInt64();
            var (counted, floor) = (Of("global_read_bytes") + Of("global_write_bytes"), node.Op.Cost(node).Bytes);
            Assert.True(counted <= 1.02 * floor, $"{counted} bytes, the floor is {floor} ({(double)counted / floor:F3})");
            Assert.InRange((double)counted / kernel.Cost.Bytes, 0.998, 1.002);
            var (sectors, ideal) = (Of("global_read_sectors") + Of("global_write_sectors"), Of("global_read_ideal_sectors") + Of("global_write_ideal_sectors"));
            Assert.True(sectors <= 1.05 * ideal, $"{sectors} sectors, {ideal} could do");
            Assert.InRange(Of("shared_max_ways"), 0, 2);
        }
        finally
        {
            Set("check", "none");
        }
    }

    [Fact]
    public void Counts_are_exact_for_values_that_are_not_finite()
    {
        var shape = new Shape(300, 3);
        var node = F.BiasAct(X(DType.F32, shape), null, new Relu(), counts: true).Output.Node;
        double[] x = [.. Enumerable.Range(0, 900).Select(i => i % 3 == 0 ? -1.0 : i % 7 == 0 ? double.NaN : i % 11 == 0 ? double.PositiveInfinity : 1)];
        var outputs = KernelRun.Outputs(under.Shared, Plan(node, new CudaLimits()), [x]);
        for (var c = 0; c < 3; c++)
        {
            var own = x.Where((_, i) => i % 3 == c).ToArray();
            Assert.Equal(own.Count(v => v > 0), outputs[1][c]);
            Assert.Equal(own.Count(v => !double.IsFinite(v)), outputs[2][c]);
        }
    }

    [Fact]
    public void What_the_kernels_cannot_do_is_left_to_the_decomposition()
    {
        var limits = new CudaLimits();
        Assert.Null(CudaKernels.Create(Nodes["bias_act"](DType.F64, [4, 4]), limits));
        Assert.Null(CudaKernels.Create(Nodes["bias_act"](DType.F32, [0, 4]), limits));
        Assert.Null(CudaKernels.Create(Nodes["bias_act_backward"](DType.F64, [4, 4]), limits));
        Assert.Null(CudaKernels.Create(F.Maxout(X(DType.F32, [1, 600]), 300).Node, limits));
    }

    [Theory]
    [InlineData("threads", 128)]
    [InlineData("unroll", 4)]
    [InlineData("groups", 4)]
    [InlineData("blocks", 8)]
    public void Benches_may_put_other_numbers_in(string name, int value)
    {
        var node = Nodes["bias_act_backward"](DType.F32, [1500, 64]);
        var (usual, tuned) = (Plan(node, new CudaLimits()), Plan(node, new CudaLimits { Tuning = new Dictionary<string, int> { [name] = value } }));
        Assert.False(usual.Steps[0].Shape == tuned.Steps[0].Shape && usual.Requests[0].ImageKey == tuned.Requests[0].ImageKey);
        var inputs = Values(node);
        var (expected, actual) = (KernelRun.Outputs(under.Shared, usual, inputs), KernelRun.Outputs(under.Shared, tuned, inputs));
        Assert.Equal(expected[0], actual[0]);
        // Sums of 1500 numbers up to 1, in another order.
        Assert.All(expected[1].Zip(actual[1]), p => Assert.Equal(p.First, p.Second, 1e-3));
    }

    private static Tensor X(DType dtype, Shape shape) => F.Input("x", dtype, shape);

    private static Tensor Channel(string name, DType dtype, Shape shape) => F.Input(name, dtype, [shape[1]]);

    private static Tensor State() => F.Input("state", DType.I64, [2]);

    private static Node Act(DType dtype, Shape shape, Activation activation, bool residual) => F.BiasAct(
        X(dtype, shape), Channel("b", dtype, shape), activation, new DropoutOp(0.25, 3), State(), residual ? F.Input("r", dtype, shape) : null).Output.Node;

    /// <summary>The backward node that the op's gradient makes.</summary>
    private static Node BackwardOf(Node node)
    {
        var y = node.Outputs[0];
        return node.Op.Gradient(node, [F.Input("dy", y.DType, y.Shape), .. node.Outputs.Skip(1).Select(Tensor? (_) => null)])[0]!.Node;
    }

    private static PlannedKernel Plan(Node node, CudaLimits limits) => Assert.IsType<PlannedKernel>(CudaKernels.Create(node, limits));

    /// <summary>Floats in (-1, 1), the generator's state, and pieces of maxout.</summary>
    private static double[][] Values(Node node)
    {
        var random = new System.Random(5);
        return [.. node.Inputs.Select(t => Enumerable.Range(0, (int)t.Type.Elements).Select(i => t.DType.IsFloat() ? 2 * random.NextDouble() - 1 : i % 2).ToArray())];
    }

    private static void Set(string option, string value) => Assert.Equal(0, Cudasim.cudasim_set_option(option, value));

    private static unsafe string Findings() => Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_findings_json()) ?? "[]";

    private static unsafe string Counters() => Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_counters_json()) ?? "[]";
}
