using GpuEngine.Core.Cpu;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>The three convolution kernels against their definition, per instruction set, dtype and number of workers.</summary>
public class ConvKernelTests
{
    // input, weight, stride, padding, dilation, groups
    private static readonly (int[] X, int[] W, int[] Stride, int[] Padding, int[] Dilation, int Groups)[] Cases =
    [
        // One of everything.
        ([1, 1, 1, 1], [1, 1, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        // Pixels along the lanes: one register and a tail, two registers, pairs of short rows with an odd one left.
        ([2, 1, 28, 28], [6, 1, 5, 5], [1, 1], [2, 2], [1, 1], 1),
        ([3, 6, 14, 14], [3, 6, 5, 5], [1, 1], [0, 0], [1, 1], 1),
        ([1, 2, 5, 50], [20, 2, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([2, 3, 4, 16], [5, 3, 2, 1], [1, 1], [0, 0], [1, 1], 1),
        // Channels along the lanes: one block, a block and a part, several; more pixels than one pass takes.
        ([2, 16, 8, 8], [16, 16, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([1, 3, 6, 7], [41, 3, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([2, 5, 9, 9], [70, 5, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        ([3, 4, 7, 3], [33, 4, 3, 2], [1, 1], [1, 0], [1, 1], 1),
        // Strides, with input rows and columns that nothing reads, and beyond the window.
        ([2, 16, 9, 8], [32, 16, 3, 3], [2, 2], [1, 1], [1, 1], 1),
        ([1, 3, 11, 12], [4, 3, 3, 2], [3, 2], [0, 1], [1, 1], 1),
        ([2, 2, 8, 8], [3, 2, 2, 2], [3, 5], [0, 0], [1, 1], 1),
        ([1, 7, 8, 9], [18, 7, 1, 1], [2, 2], [0, 0], [1, 1], 1),
        // Dilation, also together with strides; padding wider than the window reaches.
        ([1, 2, 10, 11], [5, 2, 3, 3], [1, 1], [2, 3], [2, 3], 1),
        ([2, 3, 12, 9], [17, 3, 3, 2], [2, 3], [3, 2], [2, 4], 1),
        ([1, 2, 3, 3], [3, 2, 2, 2], [1, 1], [4, 5], [1, 1], 1),
        // Groups and depthwise.
        ([2, 6, 7, 6], [9, 2, 3, 3], [1, 1], [1, 1], [1, 1], 3),
        ([1, 64, 5, 5], [64, 32, 3, 3], [1, 1], [1, 1], [1, 1], 2),
        ([2, 5, 9, 20], [5, 1, 3, 3], [1, 1], [1, 1], [1, 1], 5),
        ([3, 4, 6, 7], [4, 1, 3, 2], [2, 1], [2, 3], [2, 2], 4),
        ([2, 3, 8, 7], [6, 1, 3, 5], [2, 2], [1, 2], [1, 1], 3),
        // A window as large as the image, a long and a tall one.
        ([9, 4, 5, 5], [12, 4, 5, 5], [1, 1], [0, 0], [1, 1], 1),
        ([2, 3, 1, 40], [4, 3, 1, 17], [1, 1], [0, 8], [1, 1], 1),
        ([2, 20, 30, 1], [4, 20, 7, 1], [1, 1], [3, 0], [1, 1], 1),
        // Planes of 4096 bytes, and more images than chunks of the weight gradient.
        ([2, 16, 32, 32], [16, 16, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        ([37, 2, 4, 4], [3, 2, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ];

    public static TheoryData<int, GemmKernel> All()
    {
        var data = new TheoryData<int, GemmKernel>();
        foreach (var kernel in new[] { GemmKernel.Avx512, GemmKernel.Avx2, GemmKernel.Portable }.Where(GemmPlan.IsSupported))
        {
            for (var i = 0; i < Cases.Length; i++) data.Add(i, kernel);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Kernels_match_the_definition(int index, GemmKernel kernel)
    {
        foreach (var dtype in new[] { DType.F32, DType.F64 }) Check(index, kernel, dtype);
    }

    [Fact]
    public void Results_are_bit_equal_for_any_number_of_workers()
    {
        using CpuPool one = new(1), three = new(3), eight = new(8);
        for (var index = 0; index < Cases.Length; index++)
        {
            foreach (var (name, node) in Nodes(index, DType.F32))
            {
                var data = Data(node);
                var expected = ConvLauncher.Run(node, data, one, GemmKernel.Auto);
                Assert.True(expected.AsSpan().SequenceEqual(ConvLauncher.Run(node, data, three, GemmKernel.Auto)), $"{name} of case {index}, 3 workers");
                Assert.True(expected.AsSpan().SequenceEqual(ConvLauncher.Run(node, data, eight, GemmKernel.Auto)), $"{name} of case {index}, 8 workers");
            }
        }
    }

    [Fact]
    public void An_empty_batch_gives_empty_results_and_a_zero_weight_gradient()
    {
        var geometry = new ConvGeometry([1, 1], [1, 1], [1, 1], 1);
        using var device = new CpuDevice(2);
        var (x, w, dy) = (F.Input("x", DType.F32, [0, 3, 5, 5]), F.Input("w", DType.F32, [4, 3, 3, 3]), F.Input("dy", DType.F32, [0, 4, 5, 5]));
        using var run = new Evaluation(device, [
            new("y", F.Convolution(x, w, geometry)), new("dx", F.ConvolutionInput(dy, w, x.Shape, geometry)),
            new("dw", F.ConvolutionWeight(dy, x, w.Shape, geometry)),
        ]);
        run.Run();
        Assert.Empty(run.Get("y"));
        Assert.Empty(run.Get("dx"));
        Assert.All(run.Get("dw"), v => Assert.Equal(0, v));
    }

    [Fact]
    public void A_run_allocates_nothing()
    {
        using var device = new CpuDevice(1);
        for (var index = 0; index < Cases.Length; index += 3)
        {
            foreach (var (name, node) in Nodes(index, DType.F32))
            {
                using var run = new Evaluation(device, [new("result", node.Outputs[0])]);
                run.Run();
                run.Run();
                var before = GC.GetAllocatedBytesForCurrentThread();
                run.Run();
                Assert.True(GC.GetAllocatedBytesForCurrentThread() == before, $"{name} of case {index}");
            }
        }
    }

    private static void Check(int index, GemmKernel kernel, DType dtype)
    {
        using var pool = new CpuPool(2);
        var c = Cases[index];
        foreach (var (name, node) in Nodes(index, dtype))
        {
            var data = Data(node);
            var (first, second) = (data[0], data[1]);
            var y = (name == "forward" ? node.Outputs[0] : node.Inputs[0]).Shape.ToArray();
            var reference = new ConvReference(Geometry(c), c.X, c.W, y);
            double[] Define(double[] a, double[] b) => name switch
            {
                "forward" => reference.Forward(a, b),
                "input" => reference.Input(a, b),
                _ => reference.Weight(a, b),
            };
            var expected = Define(first, second);
            var magnitude = Define([.. first.Select(Math.Abs)], [.. second.Select(Math.Abs)]);
            var actual = ConvLauncher.Run(node, data, pool, kernel);
            // The error of a sum of n products is, with a probability that no test run will ever see fail, below
            // 4 sqrt(n) roundings of the sum of their magnitudes (Higham and Mary 2019, theorem 3.1).
            var terms = name == "weight" ? c.X[0] * y[2] * y[3] : c.W[1] * c.W[2] * c.W[3] * (name == "input" ? c.W[0] : 1);
            var roundings = (dtype == DType.F32 ? Math.Pow(2, -24) : Math.Pow(2, -53)) * 4 * Math.Sqrt(terms);
            for (var i = 0; i < expected.Length; i++)
                Assert.True(Math.Abs(expected[i] - actual[i]) <= roundings * magnitude[i], $"{name} {dtype} of case {index} at {i}: {actual[i]} instead of {expected[i]}");
        }
    }

    private static ConvGeometry Geometry((int[] X, int[] W, int[] Stride, int[] Padding, int[] Dilation, int Groups) c) =>
        new(c.Stride, c.Padding, c.Dilation, c.Groups);

    private static IEnumerable<(string Name, Node Node)> Nodes(int index, DType dtype)
    {
        var c = Cases[index];
        var geometry = Geometry(c);
        var (x, w) = (F.Input("x", dtype, new Shape(c.X)), F.Input("w", dtype, new Shape(c.W)));
        var forward = new ConvolutionOp(geometry).Apply(x, w);
        var dy = F.Input("dy", dtype, forward.Outputs[0].Shape);
        yield return ("forward", forward);
        yield return ("input", new ConvolutionInputOp(geometry, x.Shape).Apply(dy, w));
        yield return ("weight", new ConvolutionWeightOp(geometry, w.Shape).Apply(dy, x));
    }

    /// <summary>Numbers in [-1, 1] that f32 holds exactly.</summary>
    private static double[][] Data(Node node)
    {
        var random = new System.Random(5);
        return [.. node.Inputs.Select(t => Enumerable.Range(0, (int)t.Type.Elements).Select(_ => (double)(float)(random.NextDouble() * 2 - 1)).ToArray())];
    }
}
