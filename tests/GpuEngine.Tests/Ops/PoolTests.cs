using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>The pools against values of torch, their rules at the edges, and their misuse.</summary>
public class PoolTests
{
    private static readonly double[] NoValues = [];

    // x = (torch.arange(35) * 13 % 35).double().view(1, 1, 5, 7)
    private static readonly double[] Image = [.. Enumerable.Range(0, 35).Select(i => (double)(i * 13 % 35))];

    [Fact]
    public void Max_pool_agrees_with_torch()
    {
        // F.max_pool2d(x, (3, 2), (2, 3), (1, 1), (1, 2), ceil_mode=True, return_indices=True)
        var (y, indices) = Max(Image, [1, 1, 5, 7], x => F.MaxPool2d(x, (3, 2), (2, 3), (1, 1), (1, 2), true));
        Assert.Equal(MaxGolden.Values, y);
        Assert.Equal(MaxGolden.Indices, indices);
    }

    [Fact]
    public void The_first_of_equal_maxima_is_taken_and_the_last_nan()
    {
        // torch.nn.functional.max_pool2d([[[1, 1], [1, 1]], [[nan, 0], [nan, 9]], [[-inf, -inf], [-inf, -inf]]], 2, return_indices=True)
        // The same windows repeated 9 times side by side also take the path of whole registers.
        var nan = double.NaN;
        var low = double.NegativeInfinity;
        double[][] windows = [[1, 1, 1, 1], [nan, 0, nan, 9], [low, low, low, low]];
        foreach (var repeat in new[] { 1, 9 })
        {
            double[] Row(double[] w, int row) => [.. Enumerable.Repeat(new[] { w[2 * row], w[2 * row + 1] }, repeat).SelectMany(v => v)];
            double[] planes = [.. windows.SelectMany(w => Row(w, 0).Concat(Row(w, 1)))];
            var (y, indices) = Max(planes, [1, 3, 2, 2 * repeat], x => F.MaxPool2d(x, 2));
            Assert.Equal([.. new[] { 1, nan, low }.SelectMany(v => Enumerable.Repeat(v, repeat))], y);
            var places = Enumerable.Range(0, repeat).Select(q => 2.0 * q).ToArray();
            Assert.Equal([.. places, .. places.Select(q => q + 2 * repeat), .. places], indices);
        }
    }

    [Theory]
    [InlineData(37, 2, false)]
    [InlineData(37, 2, true)]
    [InlineData(16, 2, false)]
    [InlineData(10, 2, false)]
    [InlineData(9, 2, true)]
    [InlineData(9, 3, true)]
    public void Registers_of_windows_equal_the_definition(int width, int kernel, bool ceilMode)
    {
        var random = new System.Random(1);
        var x = Enumerable.Range(0, 2 * 5 * width).Select(_ => (double)random.Next(20)).ToArray();
        Shape shape = [1, 2, 5, width];
        var (y, indices) = Max(x, shape, t => F.MaxPool2d(t, kernel, ceilMode: ceilMode));
        var (rows, columns) = (Extent(5), Extent(width));
        foreach (var height in new[] { 4, 5 }) CheckGradient(kernel, ceilMode, height, width);
        var mean = Run(x, shape, t => [F.AvgPool2d(t, kernel, ceilMode: ceilMode)])[0];
        for (var i = 0; i < y.Length; i++)
        {
            var (plane, p, q) = (i / (rows * columns), i / columns % rows * kernel, i % columns * kernel);
            var window = from h in Enumerable.Range(p, Math.Min(kernel, 5 - p))
                         from w in Enumerable.Range(q, Math.Min(kernel, width - q))
                         select h * width + w;
            var place = window.MaxBy(at => x[plane * 5 * width + at]);
            Assert.Equal((x[plane * 5 * width + place], place), (y[i], indices[i]));
            // Integers add exactly; what remains is the rounding of one division in f32.
            Assert.Equal(window.Average(at => x[plane * 5 * width + at]), mean[i], 1e-6 * 20);
        }

        int Extent(int input) => ceilMode ? (input + kernel - 1) / kernel : input / kernel;
    }

    /// <summary>In f32 windows of any kind are taken eight at a time; f64 goes one by one. Ties, NaN and empty windows included.</summary>
    [Theory]
    [InlineData(3, 2, 1, 1, 37)]
    [InlineData(3, 2, 1, 1, 112)]
    [InlineData(3, 1, 1, 1, 19)]
    [InlineData(2, 1, 0, 1, 8)]
    [InlineData(2, 3, 1, 1, 23)]
    [InlineData(5, 4, 2, 1, 41)]
    [InlineData(3, 2, 1, 3, 20)]
    [InlineData(2, 2, 1, 9, 8)]
    public void Rows_of_any_windows_equal_windows_one_by_one(int kernel, int stride, int padding, int dilation, int width)
    {
        var random = new System.Random(kernel + width);
        var values = Enumerable.Range(0, 3 * 13 * width).Select(i => random.Next(9) == 0 ? double.NaN : i < 60 ? double.NegativeInfinity : random.Next(6)).ToArray();
        foreach (var ceilMode in new[] { false, true })
        {
            using var device = new CpuDevice(2);
            var results = new List<double[]>();
            foreach (var dtype in new[] { DType.F32, DType.F64 })
            {
                var x = F.Input("x", dtype, [1, 3, 13, width]);
                var y = F.MaxPool2d(x, kernel, stride, padding, dilation, ceilMode);
                using var run = new Evaluation(device, [new("y", y.Output), new("indices", y.Indices)]);
                run.Set("x", values);
                // Twice: what the first run leaves in the scratch is not the second's.
                run.Run();
                run.Run();
                results.Add([.. run.Get("y"), .. run.Get("indices")]);
            }

            Assert.Equal(results[1], results[0]);
        }
    }

    /// <summary>Each window's weight arrives at the place of its maximum, and nothing anywhere else.</summary>
    private static void CheckGradient(int kernel, bool ceilMode, int height, int width)
    {
        using var device = new CpuDevice(2);
        var x = F.Input("x", DType.F32, [1, 2, height, width]);
        var y = F.MaxPool2d(x, kernel, ceilMode: ceilMode);
        var weights = F.Reshape(F.Arange((int)y.Output.Type.Elements, DType.F32) + 1, y.Output.Shape);
        using var run = new Evaluation(device, [new("dx", Autodiff.Gradients(F.Sum(y.Output * weights), [x])[0]), new("indices", y.Indices)]);
        var random = new System.Random(2);
        run.Set("x", [.. Enumerable.Range(0, 2 * height * width).Select(_ => random.NextDouble())]);
        run.Run();
        var expected = new double[2 * height * width];
        var indices = run.Get("indices");
        for (var i = 0; i < indices.Length; i++) expected[i / (indices.Length / 2) * height * width + (int)indices[i]] += i + 1;
        Assert.Equal(expected, run.Get("dx"));
    }

    [Fact]
    public void Average_pool_agrees_with_torch()
    {
        // F.avg_pool2d(x, 3, 2, 1, ceil_mode=True) and with count_include_pad=False, divisor_override=4
        var y = Run(Image, [1, 1, 5, 7], x =>
        [
            F.AvgPool2d(x, 3, 2, 1, ceilMode: true),
            F.AvgPool2d(x, 3, 2, 1, ceilMode: true, countIncludePad: false),
            F.AvgPool2d(x, (3, 2), 2, (1, 0), divisorOverride: 4),
            F.AdaptiveAvgPool2d(x, (2, 3)),
        ]);
        for (var i = 0; i < 4; i++)
        {
            Assert.Equal(AverageGolden[i].Length, y[i].Length);
            // One rounding of a division of exact integers in f32.
            for (var j = 0; j < y[i].Length; j++) Assert.Equal(AverageGolden[i][j], y[i][j], 35 * 1.2e-7);
        }
    }

    [Fact]
    public void A_window_wholly_in_the_padding_is_zero()
    {
        // F.avg_pool2d(torch.ones(1, 1, 1, 1), 2, 1, 1, count_include_pad=False) is all ones;
        // torch lets no window lie in the padding alone, but with a step of 3 and ceil_mode the last one would: it is left out.
        Assert.Equal([1, 1, 1, 1], Run([1], [1, 1, 1, 1], x => [F.AvgPool2d(x, 2, 1, 1, countIncludePad: false)])[0]);
        Assert.Equal([1], Run([1], [1, 1, 1, 1], x => [F.AvgPool2d(x, 2, 3, 1, ceilMode: true, countIncludePad: false)])[0]);
    }

    [Fact]
    public void Empty_batches_pass()
    {
        Assert.Empty(Run(NoValues, [0, 3, 4, 4], x => [F.MaxPool2d(x, 2).Output])[0]);
        Assert.Empty(Run(NoValues, [0, 3, 4, 4], x => [F.AvgPool2d(x, 2)])[0]);
        Assert.Empty(Run(NoValues, [0, 3, 4, 4], x => [F.AdaptiveAvgPool2d(x, 1)])[0]);
    }

    [Fact]
    public void Misuse_is_told_in_a_sentence()
    {
        var x = F.Input("x", DType.F32, [2, 3, 4, 4]);
        Says(() => F.MaxPool2d(x, 5), "max_pool2d: the window [5, 5] does not fit into [2, 3, 4, 4] (padding [0, 0]).");
        Says(() => F.MaxPool2d(x, 3, padding: 2), "at most half the kernel");
        Says(() => F.MaxPool2d(x, 0), "must be positive");
        Says(() => F.AvgPool2d(x, (5, 1)), "avg_pool2d: the window [5, 1] does not fit into [2, 3, 4, 4] (padding [0, 0]).");
        Says(() => F.AvgPool2d(x, 2, divisorOverride: 0), "divisor_override must not be 0");
        Says(() => F.AdaptiveAvgPool2d(F.Input("x", DType.F32, [1, 3, 0, 4]), 1), "has no elements outside the batch axis");
        Says(() => F.AvgPool2d(F.Input("x", DType.F32, [4, 4]), 2), "expected a float tensor [N, C, H, W]");
    }

    private static void Says(Func<object> call, string part) => Assert.Contains(part, Assert.Throws<ShapeException>(call).Message);

    private static (double[] Y, double[] Indices) Max(double[] x, Shape shape, Func<Tensor, MaxPool2dResult> pool)
    {
        var y = Run(x, shape, t =>
        {
            var result = pool(t);
            return [result.Output, result.Indices];
        });
        return (y[0], y[1]);
    }

    private static double[][] Run(double[] x, Shape shape, Func<Tensor, Tensor[]> ops)
    {
        using var device = new CpuDevice(2);
        using var run = new Evaluation(device, [.. ops(F.Input("x", DType.F32, shape)).Select((t, i) => new NamedTensor($"y{i}", t))]);
        run.Set("x", x);
        run.Run();
        return [.. run.Program.Outputs.Select(o => run.Get(o.Name))];
    }

    private static readonly (double[] Values, double[] Indices) MaxGolden =
        ([34, 26, 30, 34, 33, 23, 27, 31, 23],
        [8, 2, 5, 8, 16, 26, 29, 32, 26]);

    private static readonly double[][] AverageGolden =
    [
        [7.555555556, 12.666666667, 10.555555556, 9.222222222, 12.888888889, 21.333333333, 16.222222222, 9.555555556, 8.333333333, 11.888888889, 13.666666667, 6.111111111],
        [17, 19, 15.833333333, 20.75, 19.333333333, 21.333333333, 16.222222222, 14.333333333, 18.75, 17.833333333, 20.5, 13.75],
        [17, 16.75, 16.5, 29, 33, 19.5, 18.75, 18.5, 18.25],
        [18.444444444, 17.222222222, 16, 17.666666667, 20.333333333, 15.222222222],
    ];
}
