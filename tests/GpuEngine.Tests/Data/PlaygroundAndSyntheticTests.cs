using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

public class PlaygroundTests
{
    [Fact]
    public void Without_noise_every_set_is_its_definition()
    {
        foreach (var (x, y, label) in Points(PlaygroundSet.Circle, 0))
        {
            var r = Math.Sqrt((x * x) + (y * y));
            Assert.True(label == 1 ? r < 2.5 : r is >= 3.4999 and <= 5.0001, $"radius {r}");
        }

        foreach (var (x, y, label) in Points(PlaygroundSet.Xor, 0))
        {
            Assert.Equal(x * y >= 0 ? 1 : 0, label);
            Assert.InRange(Math.Abs(x), 0.3, 5.3);
            Assert.InRange(Math.Abs(y), 0.3, 5.3);
        }

        // An arm is at radius r where its angle, from the y axis, is 1.75 * 2 pi * r / 5, the other half a turn on.
        foreach (var (x, y, label) in Points(PlaygroundSet.Spiral, 0))
        {
            var r = Math.Sqrt((x * x) + (y * y));
            var t = (1.75 * 2 * Math.PI * r / 5) + (label == 1 ? 0 : Math.PI);
            Assert.Equal(r * Math.Sin(t), x, 1e-5);
            Assert.Equal(r * Math.Cos(t), y, 1e-5);
        }
    }

    [Fact]
    public void Gaussian_clouds_have_their_centre_and_variance()
    {
        foreach (var (noise, variance) in new[] { (0.0, 0.5), (0.5, 4.0) })
        {
            var points = Points(PlaygroundSet.Gaussian, noise, 40_000);
            foreach (var label in new[] { 0, 1 })
            {
                // 20,000 points: 5 standard errors of a mean and of a variance.
                var xs = points.Where(p => p.Label == label).Select(p => (double)p.X).ToArray();
                var mean = xs.Average();
                Assert.Equal(label == 1 ? 2 : -2, mean, 5 * Math.Sqrt(variance / 20_000));
                var bound = 5 * variance * Math.Sqrt(2.0 / 20_000);
                Assert.Equal(variance, xs.Average(x => (x - mean) * (x - mean)), bound);
            }
        }
    }

    [Theory]
    [InlineData(PlaygroundSet.Circle)]
    [InlineData(PlaygroundSet.Xor)]
    [InlineData(PlaygroundSet.Gaussian)]
    [InlineData(PlaygroundSet.Spiral)]
    public void Sets_are_shuffled_halves_of_both_classes_and_follow_seed_and_noise(PlaygroundSet set)
    {
        var data = Datasets.Playground(set, new DatasetOptions { Seed = 1 });
        Assert.Equal((250, 250), (data.Train.Count, data.Test.Count));
        var labels = Enumerable.Range(0, 250).Select(i => Example.Read(data.Train, i).Label).ToArray();
        Assert.InRange(labels.Sum(), 90, 160);             // 125 expected, standard deviation at most 7.9
        Assert.InRange(labels[..20].Sum(), 1, 19);         // not sorted by class
        Assert.Equal(Points(set, 0.2), Points(set, 0.2));
        Assert.NotEqual(Points(set, 0.2), Points(set, 0.2, seed: 2));
        Assert.NotEqual(Points(set, 0.2), Points(set, 0));
    }

    private static (float X, float Y, int Label)[] Points(
        PlaygroundSet set, double noise, int points = 500, ulong seed = 1)
    {
        var data = Datasets.Playground(set, new DatasetOptions { Seed = seed, Noise = noise }, points);
        return [.. new[] { data.Train, data.Test }.SelectMany(All)];

        static IEnumerable<(float, float, int)> All(IExampleSource source)
        {
            for (var i = 0; i < source.Count; i++)
            {
                var (input, label) = Example.Read(source, i);
                yield return (input[0], input[1], label);
            }
        }
    }
}

public class SyntheticTests
{
    [Fact]
    public void Images_are_functions_of_seed_split_and_index()
    {
        var data = Datasets.Open("synthetic:3x9x11:5", new DatasetOptions { Seed = 4, Validation = HoldOut.Count(10) });
        var again = Datasets.Open("synthetic:3x9x11:5", new DatasetOptions { Seed = 4, Limit = 77 });
        var other = Datasets.Open("synthetic:3x9x11:5", new DatasetOptions { Seed = 5 });
        var (first, _) = Example.Read(data.Train, 6);
        Example.AssertSame(data.Train, 6, again.Train, 6);
        foreach (var source in new[] { data.Validation!, data.Test, other.Train })
            Assert.NotEqual(first, Example.Read(source, 6).Input);
        Assert.True(data.Train.IsEndless);
        var far = Example.Read(data.Train, 1L << 40);
        Assert.All(far.Input, x => Assert.True(float.IsFinite(x)));
    }

    [Fact]
    public void A_count_in_the_name_makes_the_set_finite()
    {
        var data = Datasets.Open("synthetic:1x4x4:3:60");
        Assert.False(data.Train.IsEndless);
        Assert.Equal(60, data.Train.Count);
        Assert.Equal(40, Datasets.Open("synthetic:1x4x4:3:60", new DatasetOptions { Limit = 40 }).Train.Count);
        Assert.Throws<ArgumentOutOfRangeException>(() => Example.Read(data.Train, 60));
    }

    // 1x1x1 has no room for a vector, 1x3x17 has vectors and tails in a row.
    [Theory]
    [InlineData(1, 1, 1, 2)]
    [InlineData(1, 3, 17, 3)]
    [InlineData(3, 32, 32, 10)]
    public void Inputs_have_mean_0_and_variance_1_about(int channels, int height, int width, int classes)
    {
        var data = Datasets.Synthetic(new ExampleShape(channels, height, width), classes);
        var values = Enumerable.Range(0, 600).SelectMany(i => Example.Read(data.Train, i).Input).ToArray();

        // The wave of a class need not average to 0 over a small image; it has a quarter of the variance.
        Assert.InRange(values.Average(), -0.7, 0.7);
        Assert.InRange(values.Average(x => (double)x * x), 0.7, 1.8);
    }

    // The nearest of the class means, estimated from 2000 images, must tell new images apart.
    [Fact]
    public void Classes_can_be_learned()
    {
        const int Classes = 4;
        var data = Datasets.Open($"synthetic:3x8x8:{Classes}", new DatasetOptions { Seed = 2 });
        var length = data.Shape.Length;
        var means = new double[Classes][];
        var counts = new int[Classes];
        for (var c = 0; c < Classes; c++) means[c] = new double[length];
        for (var i = 0; i < 2000; i++)
        {
            var (input, label) = Example.Read(data.Train, i);
            counts[label]++;
            for (var j = 0; j < length; j++) means[label][j] += input[j];
        }

        Assert.All(counts, n => Assert.InRange(n, 500 - 97, 500 + 97));   // 5 standard deviations of 19.4
        var right = 0;
        for (var i = 0; i < 500; i++)
        {
            var (input, label) = Example.Read(data.Test, i);
            var nearest = Enumerable.Range(0, Classes).MinBy(c =>
                Enumerable.Range(0, length).Sum(j => Math.Pow(input[j] - (means[c][j] / counts[c]), 2)));
            if (nearest == label) right++;
        }

        Assert.True(right > 475, $"{right} of 500");
    }
}
