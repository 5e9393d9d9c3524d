using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Optimizers;
using Xunit;

namespace GpuEngine.Tests.Optimizers;

/// <summary>Against torch.nn.utils.clip_grad_norm_ and clip_grad_value_ (1.13), and the lecture's inclusive rule (A52).</summary>
public class ClipTests
{
    private static readonly double[] Gradient = [3, -4, 12, 0.5];

    // g = torch.tensor([3., -4., 12., .5]); p.grad = g; torch.nn.utils.clip_grad_norm_([p], 5., order); results
    // torch sums squares in f32 and is one unit below the rounded norm sqrt(169.25), which is what stands here.
    [Fact]
    public void The_norm_and_the_clipped_gradient_are_torchs()
    {
        var (norm, clipped) = Clip([Gradient], 5);
        Assert.Equal((float)Math.Sqrt(169.25), norm);
        Assert.Equal(13.009611129760742, norm, 1e-6);
        double[] expected = [1.1529935598373413, -1.5373247861862183, 4.611974239349365, 0.1921655833721161];
        for (var i = 0; i < 4; i++) Assert.Equal(expected[i], clipped[i], 2.5e-7 * Math.Abs(expected[i]));
        (norm, clipped) = Clip([Gradient], 5, double.PositiveInfinity);
        Assert.Equal(12, norm);
        Assert.Equal([1.2499998807907104, -1.6666665077209473, 4.9999995231628418, 0.20833331346511841], clipped);
    }

    [Fact]
    public void Other_orders_are_torchs_to_single_precision()
    {
        var (norm, clipped) = Clip([Gradient], 5, 3);
        Assert.Equal(12.20733642578125, norm, 2e-6);   // pow in f32 there, in f64 here
        Assert.Equal(4.915076732635498, clipped[2], 1e-6);
    }

    [Fact]
    public void A_small_gradient_is_left_alone_and_a_zero_one_does_not_divide_by_zero()
    {
        Assert.Equal(Gradient, Clip([Gradient], 14).Clipped);
        Assert.Equal([0, 0], Clip([[0, 0]], 1).Clipped);
        Assert.Equal([0, 0], Clip([[0, 0]], 1, inclusive: true).Clipped);
        Assert.Equal([0, 0, 0, 0], Clip([Gradient], 0).Clipped);
    }

    [Fact]
    public void The_inclusive_rule_gives_exactly_the_threshold_and_keeps_the_direction()
    {
        Assert.Equal([3, 4], Clip([[3, 4]], 5, inclusive: true).Clipped);           // norm = threshold: the factor is 1
        Assert.Equal([1.5, 2], Clip([[3, 4]], 2.5, inclusive: true).Clipped);
        Assert.NotEqual([1.5, 2], Clip([[3, 4]], 2.5).Clipped);                      // torch's 1e-6 in the denominator
    }

    [Fact]
    public void Several_gradients_have_one_norm_and_the_pieces_are_added_in_order()
    {
        double[] whole = [.. Enumerable.Range(0, 100_003).Select(i => (double)(float)Math.Sin(i * 0.1))];
        var expected = Math.Sqrt(whole.Sum(x => x * x));
        foreach (var threads in new[] { 1, 2, 3 })
        {
            // The sum is made in double, so only the rounding of the norm to f32 is left: half a unit is 6e-8.
            Assert.Equal(expected, Clip([whole[..40_000], [], whole[40_000..]], 1, threads: threads).Norm, 6e-8 * expected);
            Assert.Equal(Clip([whole], 1).Norm, Clip([whole], 1, threads: threads).Norm);
        }
    }

    [Fact]
    public void Squares_of_large_f32_gradients_do_not_overflow() => Assert.Equal(1e30 * Math.Sqrt(2), Clip([[1e30, 1e30]], 1).Norm, 1e24);

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void A_gradient_that_is_not_finite_raises_the_flag(double bad)
    {
        foreach (var fused in new[] { true, false })
        {
            using var device = new CpuDevice(1, fused);
            var clip = F.ClipGradNorm([F.Input("g", DType.F32, [3])], 1);
            using var run = new Evaluation(device, [new("finite", clip.IsFinite), new("factor", clip.Factor)]);
            run.Set("g", [1, 2, 3]);
            run.Run();
            Assert.Equal(1, run.Get("finite")[0]);
            run.Set("g", [1, bad, 3]);
            run.Run();
            Assert.Equal(0, run.Get("finite")[0]);
            Assert.Equal(double.IsNaN(bad) ? double.NaN : 0, run.Get("factor")[0]);   // torch's: NaN stays, 1/inf = 0
        }
    }

    [Fact]
    public void Clip_by_value_cuts_and_keeps_not_a_number()
    {
        double[] values = [double.PositiveInfinity, 1, double.NaN, -2, .. Enumerable.Repeat(-0.5, 20)];
        using var device = new CpuDevice(1);
        using var run = new Evaluation(device, [new("y", F.ClipGradValue(F.Input("g", DType.F32, [values.Length]), 1.5))]);
        run.Set("g", values);
        run.Run();
        Assert.Equal([1.5, 1, double.NaN, -1.5, .. Enumerable.Repeat(-0.5, 20)], run.Get("y"));
    }

    [Fact]
    public void The_factor_in_the_optimizer_is_the_same_as_scaling_the_gradient_first()
    {
        double[] push = [.. Enumerable.Range(0, 50).Select(i => (double)(float)Math.Sin(i))];
        using var fused = new OptimizerRun(new Adam(), DType.F32, new double[50], (w, p) => w * 0 + p, clip: true);
        using var scaled = new OptimizerRun(new Adam(), DType.F32, new double[50], (w, p) =>
        {
            var grad = w * 0 + p;
            return grad * F.ClipGradNorm([grad], 1).Factor;
        });
        for (var step = 0; step < 5; step++) Assert.Equal(scaled.Step(0.1, push).Param, fused.Step(0.1, push).Param);
    }

    [Fact]
    public void Bad_limits_are_refused_by_name()
    {
        var g = F.Input("g", DType.F32, [3]);
        Assert.Contains("max_norm", Assert.Throws<UserException>(() => F.ClipGradNorm([g], -1)).Message, StringComparison.Ordinal);
        Assert.Contains("norm_type", Assert.Throws<UserException>(() => F.ClipGradNorm([g], 1, 0)).Message, StringComparison.Ordinal);
        Assert.Contains("clip_value", Assert.Throws<UserException>(() => F.ClipGradValue(g, double.NaN)).Message, StringComparison.Ordinal);
        Assert.Throws<ShapeException>(() => F.ClipGradNorm([], 1));
        Assert.Throws<ShapeException>(() => F.ClipGradNorm([g, F.Input("h", DType.F64, [3])], 1));
    }

    private static (double Norm, double[] Clipped) Clip(
        double[][] gradients, double maxNorm, double order = 2, bool inclusive = false, int threads = 1)
    {
        Tensor[] inputs = [.. gradients.Select((g, i) => F.Input($"g{i}", DType.F32, [g.Length]))];
        var clip = F.ClipGradNorm(inputs, maxNorm, order, inclusive);
        using var device = new CpuDevice(threads);
        using var run = new Evaluation(device, [new("norm", clip.TotalNorm), .. inputs.Select((g, i) => new NamedTensor($"y{i}", g * clip.Factor))]);
        for (var i = 0; i < gradients.Length; i++) run.Set($"g{i}", gradients[i]);
        run.Run();
        return (run.Get("norm")[0], [.. gradients.SelectMany((_, i) => run.Get($"y{i}"))]);
    }
}
