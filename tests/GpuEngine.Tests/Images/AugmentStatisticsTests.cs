using GpuEngine.Core.Cpu;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Images;

/// <summary>
/// What is drawn, read back from images whose pixels hold their own place. Counts are binomial and the numbers are always the same ones, so
/// five standard deviations neither fail by chance nor let a wrong rate pass.
/// </summary>
public sealed class AugmentStatisticsTests : IDisposable
{
    private const int Images = 20_000;
    private readonly CpuDevice _cpu = new(2);

    public void Dispose() => _cpu.Dispose();

    [Theory]
    [InlineData(0.5)]
    [InlineData(0.1)]
    [InlineData(1)]
    [InlineData(0)]
    public void Images_are_flipped_at_the_rate(double p)
    {
        var y = Run(new() { Flip = p }, 1, 2);
        AssertRate(Enumerable.Range(0, Images).Count(n => y[2 * n] > y[2 * n + 1]), p);
    }

    [Fact]
    public void Every_place_of_a_crop_is_as_likely()
    {
        // 5x5 padded by 2: 5 x 5 places. The middle of the window is inside the image wherever it lies.
        var y = Run(new() { Crop = new((5, 5), Ints.Repeat(2, 4)) }, 5, 5);
        var counts = new int[25];
        for (var n = 0; n < Images; n++) counts[(int)y[25 * n + 12] - 1]++;
        Assert.All(counts, c => AssertRate(c, 1.0 / 25));
    }

    [Fact]
    public void Every_pixel_is_as_likely_the_centre_of_a_cutout()
    {
        // A square of 2 covers the centre and what is above and left of it.
        var y = Run(new() { Cutout = new(2) }, 3, 4);
        var counts = new int[12];
        for (var n = 0; n < Images; n++)
        {
            var last = Enumerable.Range(0, 12).Last(i => y[12 * n + i] == 0);
            counts[last]++;
        }

        Assert.All(counts, c => AssertRate(c, 1.0 / 12));
    }

    [Fact]
    public void Cutout_zeroes_the_square_of_DeVries_and_Taylor()
    {
        // Odd sides lose one: from c - s/2 to c + s/2 in whole numbers. Every area from a corner's to the whole square's comes up.
        foreach (var (side, inside) in new[] { (4, 4), (5, 4), (1, 0) })
        {
            var y = Run(new() { Cutout = new(side) }, 9, 9);
            var areas = Enumerable.Range(0, 2000).Select(n => Enumerable.Range(0, 81).Count(i => y[81 * n + i] == 0)).ToHashSet();
            Assert.Equal(inside * inside, areas.Max());
            Assert.Equal(side / 2 * (side / 2), areas.Min());
        }
    }

    [Fact]
    public void Windows_of_a_resized_crop_have_the_asked_area_and_ratio()
    {
        // With 2x2 pixels the four values are the bilinear samples at a quarter and three quarters of the window.
        const int Side = 64;
        var op = new AugmentOp { ResizedCrop = new((2, 2), 0.2, 0.8, 0.5, 2) };
        var y = Run(op, Side, Side, 4000);
        double[] areas = new double[4000], ratios = new double[4000];
        for (var n = 0; n < 4000; n++)
        {
            var width = 2 * (y[4 * n + 1] - y[4 * n]);
            var height = 2 * (y[4 * n + 2] - y[4 * n]) / Side;
            (areas[n], ratios[n]) = (width * height / (Side * Side), width / height);
        }

        // Sides are whole pixels: half a pixel of 20 is 2.5 percent.
        Assert.InRange(areas.Min(), 0.19, 0.22);
        Assert.InRange(areas.Max(), 0.75, 0.82);
        Assert.InRange(ratios.Min(), 0.48, 0.53);
        Assert.InRange(ratios.Max(), 1.9, 2.08);
        // Log-uniform, and narrowed alike on both sides by what fits: as many wide ones as high ones.
        Assert.InRange(ratios.Average(Math.Log), -0.05, 0.05);
    }

    [Fact]
    public void Factors_cover_their_range_and_orders_are_equally_likely()
    {
        // One pixel of value 1/2 and one of 0: brightness scales, contrast moves towards the mean.
        double[] pixels = [.. Enumerable.Range(0, 2 * Images).Select(i => i % 2 == 0 ? 0.5 : 0.0)];
        var bright = Run(new() { Jitter = new(FactorRange.Around(0.4)) }, pixels);
        double[] factors = [.. Enumerable.Range(0, Images).Select(n => 2 * bright[2 * n])];
        Assert.InRange(factors.Min(), 0.6, 0.601);
        Assert.InRange(factors.Max(), 1.399, 1.4);
        Assert.Equal(1, factors.Average(), 5 * 0.8 / Math.Sqrt(12 * Images));

        // Twice the contrast of 0.6 and 0.3, then twice as bright, is 1 and 0.3; the other order clamps earlier and leaves 1 and 0.4.
        double[] light = [.. Enumerable.Range(0, 2 * Images).Select(i => i % 2 == 0 ? 0.6 : 0.3)];
        var both = Run(new() { Jitter = new(new(2, 2), new(2, 2)) }, light);
        AssertRate(Enumerable.Range(0, Images).Count(n => both[2 * n] == both[0] && both[2 * n + 1] == both[1]), 0.5);
    }

    [Fact]
    public void Draws_follow_from_seed_offset_and_image_alone()
    {
        var test = new AugmentCase("draws", new() { Crop = new((8, 8), Ints.Repeat(4, 4)), Flip = 0.5 }, [64, 1, 8, 8]);
        var pixels = Places(64, 64);
        var first = test.Run(_cpu, pixels, seed: 3, offset: 10);
        Assert.Equal(first, test.Run(_cpu, pixels, seed: 3, offset: 10));
        Assert.NotEqual(first, test.Run(_cpu, pixels, seed: 3, offset: 11));
        Assert.NotEqual(first, test.Run(_cpu, pixels, seed: 4, offset: 10));
        // A larger batch begins with the same images, another step changes nothing of the window, and images differ.
        var larger = (test with { Shape = [100, 1, 8, 8] }).Run(_cpu, Places(100, 64), seed: 3, offset: 10);
        Assert.Equal(first, larger[..first.Length]);
        Assert.True(first.Chunk(64).Select(image => string.Join(",", image)).Distinct().Count() > 40);
        var erased = (test with { Op = test.Op with { Cutout = new(2) } }).Run(_cpu, pixels, seed: 3, offset: 10);
        Assert.All(first.Zip(erased), p => Assert.True(p.First == p.Second || p.Second == 0));
    }

    [Fact]
    public void Replayed_steps_draw_anew()
    {
        var test = new AugmentCase("replay", new() { Flip = 0.5 }, [64, 1, 1, 2]);
        using var evaluation = test.Open(_cpu);
        evaluation.Set("images", Places(64, 2));
        var seen = new HashSet<string>();
        for (var step = 0; step < 5; step++)
        {
            evaluation.Set("generator", [1, step]);
            evaluation.Run();
            seen.Add(string.Join(",", evaluation.Get("y")));
        }

        Assert.Equal(5, seen.Count);
    }

    private static void AssertRate(int count, double rate, int of = Images) =>
        Assert.InRange(count, of * rate - 5 * Math.Sqrt(of * rate * (1 - rate)), of * rate + 5 * Math.Sqrt(of * rate * (1 - rate)));

    /// <summary>Images whose pixels are 1, 2, 3, ...</summary>
    private static double[] Places(int images, int pixels) => [.. Enumerable.Range(0, images * pixels).Select(i => 1.0 + i % pixels)];

    private double[] Run(AugmentOp op, int height, int width, int images = Images) =>
        new AugmentCase("statistics", op, [images, 1, height, width]).Run(_cpu, Places(images, height * width));

    private double[] Run(AugmentOp op, double[] pairs) => new AugmentCase("statistics", op, [pairs.Length / 2, 1, 1, 2]).Run(_cpu, pairs);
}
