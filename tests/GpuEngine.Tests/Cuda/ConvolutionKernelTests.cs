using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Tests.Ops;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// The variants of the three convolutions against their definition. All operands are -1, 0 or 1, so that every sum is a small integer:
/// exact in any order and in every dtype, and the allowance is zero.
/// </summary>
[Collection("device")]
public sealed class ConvolutionKernelTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>x, w, stride, padding, dilation, groups.</summary>
    private static readonly (int[] X, int[] W, int[] Stride, int[] Padding, int[] Dilation, int Groups)[] Cases =
    [
        // Channels in whole vectors, in parts of one, odd; one position, odd images.
        ([2, 8, 6, 5], [16, 8, 3, 3], [1, 1], [1, 1], [1, 1], 1),
        ([3, 3, 7, 9], [5, 3, 3, 2], [1, 2], [1, 0], [1, 1], 1),
        ([1, 4, 5, 5], [7, 4, 5, 5], [1, 1], [0, 0], [1, 1], 1),
        ([5, 1, 1, 1], [1, 1, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        // Windows of one element: the image itself, with a step, with a border.
        ([3, 16, 5, 7], [8, 16, 1, 1], [1, 1], [0, 0], [1, 1], 1),
        ([3, 8, 7, 6], [24, 8, 1, 1], [2, 2], [0, 0], [1, 1], 1),
        ([2, 3, 4, 4], [5, 3, 1, 1], [1, 1], [1, 2], [1, 1], 1),
        // Groups, more of them than images, of one channel each; windows of one element in groups.
        ([2, 16, 6, 6], [8, 8, 3, 3], [1, 1], [1, 1], [1, 1], 2),
        ([1, 12, 5, 4], [8, 3, 2, 3], [2, 1], [0, 2], [2, 1], 4),
        ([2, 6, 5, 8], [6, 1, 3, 3], [1, 1], [1, 1], [1, 1], 6),
        ([3, 16, 3, 5], [8, 4, 1, 1], [1, 1], [0, 0], [1, 1], 4),
        // Dilation, borders wider than the window reaches, a step wider than the window.
        ([2, 8, 9, 10], [4, 8, 3, 3], [1, 1], [2, 3], [2, 3], 1),
        ([2, 2, 3, 3], [3, 2, 2, 2], [1, 1], [4, 5], [1, 1], 1),
        ([2, 8, 11, 9], [4, 8, 2, 2], [3, 4], [0, 0], [1, 1], 1),
        // Several blocks, and an odd count of columns behind the last vector.
        ([7, 5, 13, 11], [3, 5, 3, 3], [1, 1], [1, 1], [1, 1], 1),
    ];

    public static TheoryData<int, bool> All()
    {
        var data = new TheoryData<int, bool>();
        for (var i = 0; i < Cases.Length; i++)
        {
            data.Add(i, false);
            data.Add(i, true);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Products_of_patches_match_the_definition(int index, bool channelsLast)
    {
        // f64 takes the same source; two cases show that it compiles and counts right.
        foreach (var dtype in index < 2 ? new[] { DType.F32, DType.BF16, DType.F64 } : [DType.F32, DType.BF16])
        {
            var limits = under.Shared.Limits with { Variant = IsPlain(index) ? "gemm" : "im2col" };
            Check(index, channelsLast, dtype, limits, kernel => Assert.IsType<PlannedKernel>(kernel));
        }
    }

    /// <summary>One image's columns at a time, and a last chunk that is shorter.</summary>
    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 0)]
    [InlineData(4, 0)]
    [InlineData(5, 0)]
    [InlineData(7, 0)]
    [InlineData(10, 0)]
    [InlineData(14, 64)]
    public void Chunks_of_images_change_nothing(int index, int kibibytes)
    {
        foreach (var channelsLast in new[] { false, true })
        {
            var limits = under.Shared.Limits with
            {
                Variant = IsPlain(index) ? "gemm" : "im2col",
                Tuning = new Dictionary<string, int> { ["column_kibibytes"] = kibibytes },
            };
            foreach (var dtype in new[] { DType.F32, DType.BF16 }) Check(index, channelsLast, dtype, limits, null);
        }
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Direct_kernels_match_the_definition(int index, bool channelsLast) =>
        Check(index, channelsLast, DType.F32, under.Shared.Limits with { Variant = "direct" }, kernel => Assert.IsType<GeneratedKernel>(kernel));

    /// <summary>Images, channels, filters, height, width, padding; one split, several, more than there are bands.</summary>
    [Theory]
    [InlineData(3, 16, 16, 9, 12, 1, 5)]
    [InlineData(2, 3, 16, 18, 32, 1, 4)]
    [InlineData(2, 33, 17, 5, 7, 1, 3)]
    [InlineData(2, 40, 70, 8, 8, 1, 2)]
    [InlineData(5, 1, 1, 3, 3, 0, 1)]
    [InlineData(1, 5, 6, 4, 5, 2, 1)]
    [InlineData(1, 2, 9, 3, 30, 1, 0)]
    public void Split_sums_match_the_definition(int images, int channels, int filters, int height, int width, int padding, int splits)
    {
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var limits = under.Shared.Limits with { Variant = "split_k" };
            if (splits > 0) limits = limits with { Tuning = new Dictionary<string, int> { ["splits"] = splits } };
            var c = (new[] { images, channels, height, width }, new[] { filters, channels, 3, 3 }, new[] { 1, 1 }, new[] { padding, padding }, new[] { 1, 1 }, 1);
            Check(c, false, dtype, limits, kernel => Assert.Contains(
                kernel.Node.Op is ConvolutionWeightOp ? "conv_weight_gradient" : "", kernel.Requests.Select(r => r.Entry).Prepend("")));
        }
    }

    [Fact]
    public void No_schedule_finds_a_race_or_a_bad_access()
    {
        CudaUnderTest.RequireSimulator();
        // The shared device checks memory and races in all of these tests; here in random orders too.
        var limits = under.Shared.Limits with { Variant = "im2col" };
        try
        {
            for (var seed = 1; seed <= 5; seed++)
            {
                Assert.Equal(0, Cudasim.cudasim_set_option("seed", $"{seed}"));
                foreach (var index in new[] { 0, 1, 7, 11 })
                {
                    Check(index, true, DType.BF16, limits, null);
                    Check(index, false, DType.F32, limits, null);
                    Check(index, false, DType.F32, limits with { Variant = "split_k" }, null);
                }
            }
        }
        finally
        {
            Assert.Equal(0, Cudasim.cudasim_set_option("seed", "0"));
        }
    }

    [Fact]
    public void Without_cudnn_the_size_decides()
    {
        var limits = new CudaLimits { HasCublas = true };
        // Small, large, large without channels to multiply, a window of one element.
        Assert.IsType<GeneratedKernel>(Forward([1, 3, 8, 8], [4, 3, 3, 3], 1, limits));
        Assert.StartsWith("im2col", Forward([8, 32, 32, 32], [64, 32, 3, 3], 1, limits).Decision);
        Assert.IsType<GeneratedKernel>(Forward([8, 256, 32, 32], [256, 1, 3, 3], 256, limits));
        Assert.StartsWith("product", Forward([8, 64, 32, 32], [64, 64, 1, 1], 1, limits).Decision);
        Assert.IsType<GeneratedKernel>(Forward([8, 32, 32, 32], [64, 32, 3, 3], 1, limits with { HasCublas = false }));
        Assert.IsType<ConvolutionKernel>(Forward([8, 32, 32, 32], [64, 32, 3, 3], 1, limits with { HasCudnn = true }));
    }

    /// <summary>README.md of kernels/ states the limit.</summary>
    [Fact]
    public void Columns_stay_below_the_limit()
    {
        var limits = new CudaLimits { HasCublas = true };
        foreach (var images in new[] { 1, 7, 256, 2000 })
        {
            var kernel = (PlannedKernel)Forward([images, 64, 56, 56], [64, 64, 3, 3], 1, limits);
            Assert.True(kernel.WorkspaceBytes <= CublasProduct.WorkspaceOf(limits) + (64 << 20));
        }
    }

    private static bool IsPlain(int index)
    {
        var c = Cases[index];
        return c.W[2] * c.W[3] == 1 && c.Stride.All(s => s == 1) && c.Padding.All(p => p == 0);
    }

    private static CudaKernel Forward(int[] x, int[] w, int groups, CudaLimits limits) => CudaKernels.Create(
        new ConvolutionOp(new ConvGeometry([1, 1], [w[2] / 2, w[3] / 2], [1, 1], groups))
            .Apply(F.Input("x", DType.F32, new Shape(x)), F.Input("w", DType.F32, new Shape(w))),
        limits)!;

    private void Check(int index, bool channelsLast, DType dtype, CudaLimits limits, Action<CudaKernel>? inspect) =>
        Check(Cases[index], channelsLast, dtype, limits, inspect);

    private void Check(
        (int[] X, int[] W, int[] Stride, int[] Padding, int[] Dilation, int Groups) c, bool channelsLast, DType dtype, CudaLimits limits,
        Action<CudaKernel>? inspect)
    {
        var geometry = new ConvGeometry(c.Stride, c.Padding, c.Dilation, c.Groups);
        int[] y = geometry.OutputShape(new Shape(c.X), new Shape(c.W)).ToArray();
        var (x, w, dy) = (Values(1, c.X), Values(2, c.W), Values(3, y));
        var reference = new ConvReference(geometry, c.X, c.W, y);
        Tensor Input(string name, int[] shape) => F.Input(name, dtype, new Shape(Turn(shape)));
        int[] Turn(int[] shape) => channelsLast ? [shape[0], shape[2], shape[3], shape[1]] : shape;
        var (tx, tw, tdy) = (Input("x", c.X), Input("w", c.W), Input("dy", y));
        var nodes = channelsLast
            ? new[]
            {
                new ConvolutionNhwcOp(geometry).Apply(tx, tw), new ConvolutionInputNhwcOp(geometry, tx.Shape).Apply(tdy, tw),
                new ConvolutionWeightNhwcOp(geometry, tw.Shape).Apply(tdy, tx),
            }
            : [
                new ConvolutionOp(geometry).Apply(tx, tw), new ConvolutionInputOp(geometry, tx.Shape).Apply(tdy, tw),
                new ConvolutionWeightOp(geometry, tw.Shape).Apply(tdy, tx),
            ];
        var runs = new[]
        {
            (x, c.X, w, c.W, reference.Forward(x, w), y), (dy, y, w, c.W, reference.Input(dy, w), c.X), (dy, y, x, c.X, reference.Weight(dy, x), c.W),
        };
        for (var i = 0; i < nodes.Length; i++)
        {
            var (first, firstShape, second, secondShape, expected, shape) = runs[i];
            Assert.True(expected.All(v => Math.Abs(v) <= 256));
            using var kernel = CudaKernels.Create(nodes[i], limits)!;
            inspect?.Invoke(kernel);
            // No guard: the simulator's memory check sees reads as well.
            var actual = KernelRun.Outputs(under.Shared, kernel, [Last(first, firstShape), Last(second, secondShape)], guard: NativeLibraries.IsSimulated ? 0 : 256)[0];
            Assert.Equal(Last(expected, shape), actual);
            under.AssertNothingFound();
        }

        double[] Last(double[] values, int[] shape) => channelsLast ? ChannelsLast(values, shape) : values;
    }

    private static double[] ChannelsLast(double[] values, int[] shape)
    {
        var result = new double[values.Length];
        var plane = shape[2] * shape[3];
        for (var i = 0; i < values.Length; i++)
        {
            var (n, c, place) = (i / (shape[1] * plane), i / plane % shape[1], i % plane);
            result[((n * plane) + place) * shape[1] + c] = values[i];
        }

        return result;
    }

    private static double[] Values(int seed, int[] shape)
    {
        var random = new System.Random(seed);
        return [.. Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(_ => (double)random.Next(-1, 2))];
    }
}
