using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Kernels;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>Convolutions by Winograd's F(2x2, 3x3) on the CPU against the definition in f64 and beside the plain f32 kernel.</summary>
public class WinogradTests
{
    // input, output channels, padding: odd and even sizes, one tile, rows of many registers, several chunks, windows that begin inside.
    private static readonly (int[] X, int Outputs, int[] Padding)[] Cases =
    [
        ([1, 1, 3, 3], 1, [0, 0]), ([2, 3, 4, 4], 5, [1, 1]), ([1, 5, 7, 9], 17, [1, 1]), ([2, 2, 5, 40], 3, [0, 1]), ([1, 4, 33, 6], 14, [2, 2]),
        ([3, 16, 8, 8], 16, [1, 1]), ([1, 64, 28, 28], 64, [1, 1]), ([1, 3, 1, 1], 2, [1, 1]), ([1, 2, 9, 5], 2, [3, 0]),
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

    /// <summary>
    /// The products' sums are those of the definition with other factors: inputs grow to four times, weights to 9/4, and 16 products make 4 outputs.
    /// Rounding errors add up like those of a plain sum of as many terms with these magnitudes; 9 covers the growth of both (Barabasz et al. 2020,
    /// table 2, have 4 for the norm), 4 sqrt(terms) the probability, as in ConvKernelTests.
    /// </summary>
    [Theory]
    [MemberData(nameof(All))]
    public void Both_directions_match_the_definition(int index, GemmKernel kernel)
    {
        using var pool = new CpuPool(2);
        foreach (var (name, node) in Nodes(index))
        {
            var data = Data(node);
            var (expected, largest) = Define(index, name, data);
            var actual = ConvLauncher.Run(node, data, pool, kernel, ConvMethod.Winograd);
            var terms = name == "input" ? Cases[index].Outputs * 9 : Cases[index].X[1] * 9;
            for (var i = 0; i < expected.Length; i++)
            {
                Assert.True(
                    Math.Abs(expected[i] - actual[i]) <= 9 * 4 * Math.Sqrt(terms) * Math.Pow(2, -24) * largest,
                    $"{name} of case {index} at {i}: {actual[i]} instead of {expected[i]}");
            }
        }
    }

    /// <summary>The rule of the house: an error of at most twice that of the plain computation in the same dtype (root mean square).</summary>
    [Fact]
    public void The_error_is_at_most_twice_that_of_the_plain_sum()
    {
        using var pool = new CpuPool(2);
        foreach (var (name, node) in Nodes(6))
        {
            var data = Data(node);
            var (expected, _) = Define(6, name, data);
            var plain = Error(ConvLauncher.Run(node, data, pool, GemmKernel.Auto), expected);
            var winograd = Error(ConvLauncher.Run(node, data, pool, GemmKernel.Auto, ConvMethod.Winograd), expected);
            Assert.True(winograd > 0 && winograd <= 2 * plain, $"{name}: {winograd:E2} beside {plain:E2}");
        }

        static double Error(double[] actual, double[] expected) => Math.Sqrt(actual.Zip(expected).Average(p => (p.First - p.Second) * (p.First - p.Second)));
    }

    [Fact]
    public void Results_are_bit_equal_for_any_number_of_workers()
    {
        using CpuPool one = new(1), three = new(3);
        for (var index = 0; index < Cases.Length; index++)
        {
            foreach (var (name, node) in Nodes(index))
            {
                var data = Data(node);
                Assert.Equal(
                    ConvLauncher.Run(node, data, one, GemmKernel.Auto, ConvMethod.Winograd), ConvLauncher.Run(node, data, three, GemmKernel.Auto, ConvMethod.Winograd));
            }
        }
    }

    [Fact]
    public void A_bias_is_added()
    {
        using var pool = new CpuPool(1);
        var geometry = new ConvGeometry([1, 1], [1, 1], [1, 1], 1);
        var node = new Conv2dOp(geometry, true).Apply(F.Input("x", DType.F32, [1, 2, 5, 5]), F.Input("w", DType.F32, [3, 2, 3, 3]), F.Input("b", DType.F32, [3]));
        double[][] data = [new double[50], new double[54], [1, -2, 3]];
        var y = ConvLauncher.Run(node, data, pool, GemmKernel.Auto, ConvMethod.Winograd);
        Assert.Equal([.. data[2].SelectMany(b => Enumerable.Repeat(b, 25))], y);
    }

    /// <summary>It is taken where it pays: many channels on a map that fills its tiles; never with a step, another window or f64.</summary>
    [Theory]
    [InlineData(64, 64, 56, 3, 1, true)]
    [InlineData(128, 128, 28, 3, 1, true)]
    [InlineData(16, 16, 32, 3, 1, false)]
    [InlineData(64, 64, 56, 3, 2, false)]
    [InlineData(64, 64, 56, 1, 1, false)]
    [InlineData(512, 512, 7, 3, 1, false)]
    public void It_is_chosen_where_it_pays(int inputs, int outputs, int extent, int window, int step, bool chosen)
    {
        var geometry = new ConvGeometry([step, step], [window / 2, window / 2], [1, 1], 1);
        foreach (var dtype in new[] { DType.F32, DType.F64 })
        {
            var node = new ConvolutionOp(geometry).Apply(F.Input("x", dtype, [1, inputs, extent, extent]), F.Input("w", dtype, [outputs, inputs, window, window]));
            var kernel = ConvolutionKernels.Create(node, 1)!;
            Assert.Equal(chosen && dtype == DType.F32, kernel.GetType().Name.StartsWith("Winograd", StringComparison.Ordinal));
        }
    }

    private static (double[] Values, double Largest) Define(int index, string name, double[][] data)
    {
        var c = Cases[index];
        int[] y = [c.X[0], c.Outputs, c.X[2] + 2 * c.Padding[0] - 2, c.X[3] + 2 * c.Padding[1] - 2];
        var reference = new ConvReference(Geometry(index), c.X, [c.Outputs, c.X[1], 3, 3], y);
        double[] Apply(double[] a, double[] b) => name == "forward" ? reference.Forward(a, b) : reference.Input(a, b);
        return (Apply(data[0], data[1]), Apply([.. data[0].Select(Math.Abs)], [.. data[1].Select(Math.Abs)]).Max());
    }

    private static ConvGeometry Geometry(int index) => new([1, 1], Cases[index].Padding, [1, 1], 1);

    private static IEnumerable<(string Name, Node Node)> Nodes(int index)
    {
        var c = Cases[index];
        var (x, w) = (F.Input("x", DType.F32, new Shape(c.X)), F.Input("w", DType.F32, [c.Outputs, c.X[1], 3, 3]));
        var forward = new ConvolutionOp(Geometry(index)).Apply(x, w);
        yield return ("forward", forward);
        yield return ("input", new ConvolutionInputOp(Geometry(index), x.Shape).Apply(F.Input("dy", DType.F32, forward.Outputs[0].Shape), w));
    }

    private static double[][] Data(Node node)
    {
        var random = new System.Random(5);
        return [.. node.Inputs.Select(t => Enumerable.Range(0, (int)t.Type.Elements).Select(_ => (double)(float)(random.NextDouble() * 2 - 1)).ToArray())];
    }
}
