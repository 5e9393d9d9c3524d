using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;
using Xunit;

namespace GpuEngine.Tests.Initializers;

public class InitializerTests
{
    private static readonly Shape Weight = [300, 500];

    // The standard deviations of torch.nn.init for a weight [300, 500], a = sqrt(3) std for the uniform forms.
    public static TheoryData<string, double, bool> Schemes() => new()
    {
        { "xavier_uniform", Math.Sqrt(2.0 / 800), false },
        { "glorot_uniform:2", 2 * Math.Sqrt(2.0 / 800), false },
        { "xavier_normal", Math.Sqrt(2.0 / 800), true },
        { "kaiming_normal", Math.Sqrt(2.0 / 500), true },
        { "he_normal:fan_out", Math.Sqrt(2.0 / 300), true },
        { "kaiming_uniform", Math.Sqrt(2.0 / 500), false },
        { "he_uniform:fan_in:tanh", 5.0 / 3 / Math.Sqrt(500), false },
        { "kaiming_normal:fan_in:leaky_relu:0.5", Math.Sqrt(2 / 1.25 / 500), true },
        { "kaiming_normal:fan_in:selu", 0.75 / Math.Sqrt(500), true },
        { "lecun_normal", 1 / Math.Sqrt(500), true },
        { "lecun_uniform", 1 / Math.Sqrt(500), false },
        { "default", 1 / Math.Sqrt(3 * 500), false },
        { "normal:0:0.01", 0.01, true },
        { "uniform:-0.3:0.3", 0.3 / Math.Sqrt(3), false },
        { "xavier_literal", Math.Sqrt(2) / 800, false },
        { "he_literal", 2 / Math.Sqrt(500), true },
    };

    [Theory]
    [MemberData(nameof(Schemes))]
    public void Moments_are_those_of_the_scheme(string text, double std, bool normal)
    {
        var values = Fill(text, Weight);
        var n = values.Length;
        var mean = values.Average();
        var variance = values.Sum(x => (x - mean) * (x - mean)) / n;
        // Five standard errors: std/sqrt(n) for the mean; the variance's relative error is sqrt((kurtosis - 1)/n), with kurtosis
        // 3 for normal and 1.8 for uniform numbers.
        Assert.Equal(0, mean, 5 * std / Math.Sqrt(n));
        Assert.Equal(1, variance / (std * std), 5 * Math.Sqrt((normal ? 2 : 0.8) / n));
        var largest = values.Max(Math.Abs);
        if (!normal) Assert.InRange(largest, 0.999 * Math.Sqrt(3) * std, Math.Sqrt(3) * std * (1 + 1e-12));
        else Assert.InRange(largest, 3.5 * std, 6.5 * std);   // 150000 draws
    }

    [Fact]
    public void Constants_fill()
    {
        Assert.All(Fill("zeros", [3, 4]), x => Assert.Equal(0, x));
        Assert.All(Fill("ones", [7]), x => Assert.Equal(1, x));
        Assert.All(Fill("constant:-2.5", [7]), x => Assert.Equal(-2.5, x));
    }

    [Fact]
    public void Fans_of_linear_and_convolution_weights_are_torchs()
    {
        Assert.Equal(new Fans(5, 3), Fans.Of([3, 5]));
        Assert.Equal(new Fans(16 * 9, 32 * 9), Fans.Of([32, 16, 3, 3]));
        Assert.Equal(new Fans(1 * 25, 8 * 25), Fans.Of([8, 1, 5, 5]));   // depthwise: C/groups = 1
        Assert.Contains("[7]", Assert.Throws<UserException>(() => Fans.Of([7])).Message, StringComparison.Ordinal);
    }

    // torch.nn.init.calculate_gain
    [Fact]
    public void Gains_are_torchs()
    {
        Assert.Equal(1, Gain.Of("linear"));
        Assert.Equal(1, Gain.Of("sigmoid"));
        Assert.Equal(5.0 / 3, Gain.Of("tanh"));
        Assert.Equal(1.4142135623730951, Gain.Of("relu"), 1e-15);
        Assert.Equal(1.4141428569978354, Gain.Of("leaky_relu"), 1e-15);
        Assert.Equal(1.3719886811400708, Gain.Of("leaky_relu", 0.25), 1e-15);
        Assert.Equal(0.75, Gain.Of("selu"));
        Assert.Throws<UserException>(() => Gain.Of("gelu"));
    }

    [Fact]
    public void A_bias_starts_within_1_over_root_fan_in()
    {
        var values = new double[1000];
        Initializer.DefaultBias([1000, 3, 5, 5]).Fill(values, [1000], 1, 2);
        Assert.InRange(values.Max(Math.Abs), 0.99 / Math.Sqrt(75), 1 / Math.Sqrt(75));
    }

    [Fact]
    public void Seed_and_stream_decide_the_values_and_floats_are_the_rounded_doubles()
    {
        foreach (var text in Initializer.Names.Where(n => n is not ("zeros" or "ones" or "constant")))
        {
            // More than one chunk of the float path, and an odd end.
            Shape shape = text is "orthogonal" or "lsuv" ? [33, 21] : [171, 203];
            var values = Fill(text, shape);
            Assert.Equal(values, Fill(text, shape));
            Assert.NotEqual(values, Fill(text, shape, seed: 2));
            Assert.NotEqual(values, Fill(text, shape, stream: 1));
            var floats = new float[shape.Elements];
            Initializer.Create(text).Fill(floats, shape, 1, 0);
            Assert.Equal(values.Select(x => (float)x), floats);
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 9)]
    [InlineData(9, 1)]
    [InlineData(40, 40)]
    [InlineData(30, 70)]
    [InlineData(70, 30)]
    public void Orthogonal_rows_or_columns_are_orthonormal_times_the_gain(int rows, int columns)
    {
        var w = Fill("orthogonal:3", [rows, columns]);
        var (count, length) = (Math.Min(rows, columns), Math.Max(rows, columns));
        double At(int vector, int i) => rows <= columns ? w[vector * columns + i] : w[i * columns + vector];
        for (var a = 0; a < count; a++)
        {
            for (var b = 0; b < count; b++)
            {
                var dot = Enumerable.Range(0, length).Sum(i => At(a, i) * At(b, i));
                // Gram-Schmidt twice is orthogonal to some units of 1e-16.
                Assert.Equal(a == b ? 9 : 0, dot, 1e-13);
            }
        }
    }

    [Fact]
    public void Orthogonal_flattens_trailing_axes_and_has_the_signs_of_a_positive_r()
    {
        Assert.Equal(Fill("orthogonal", [6, 2, 3, 3]), Fill("orthogonal", [6, 18]));
        // R = Q^T A has a positive diagonal: each vector points along the normal vector that it came from.
        var raw = new double[20 * 30];
        Core.Random.Philox.FillNormal(raw.AsSpan(), 1, 0, 0);
        var w = Fill("orthogonal", [20, 30]);
        for (var v = 0; v < 20; v++) Assert.True(Enumerable.Range(0, 30).Sum(i => raw[v * 30 + i] * w[v * 30 + i]) > 0);
        Assert.Empty(Fill("orthogonal", [0, 4]));
        Assert.Throws<UserException>(() => Fill("orthogonal", [4]));
    }

    [Theory]
    [InlineData("he_norml", "he_normal")]
    [InlineData("normal:0:x", "normal:MEAN:STD")]
    [InlineData("normal:0:-1", "standard deviation")]
    [InlineData("normal:0:1:2", "too many")]
    [InlineData("uniform:1:0", "lower bound")]
    [InlineData("he_normal:fan_inn", "fan_in")]
    [InlineData("he_normal:fan_in:rellu", "relu")]
    [InlineData("zeros:1", "too many")]
    public void Mistakes_get_a_sentence(string text, string expected) =>
        Assert.Contains(expected, Assert.Throws<UserException>(() => Initializer.Create(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void Room_of_the_wrong_size_is_refused() =>
        Assert.Throws<ArgumentException>(() => Initializer.Create("normal").Fill(new double[5], [2, 3], 1, 0));

    // E4: a layer of the typed form multiplies the second moment by n a^2/3 = 2n/(2n)^2, 1/1024 at width 512; the ReLU before it
    // halves that: 2048-fold a layer.
    [Fact]
    public void E4_the_typed_xavier_shrinks_the_second_moment_a_thousandfold_at_width_512_before_the_relu_halves_it()
    {
        var w = Fill("xavier_literal", [512, 512]);
        Assert.Equal(1.0 / 1024, 512 * w.Average(x => x * x), 0.02 / 1024);
        Assert.Equal(1, 512 * Fill("xavier_uniform", [512, 512]).Average(x => x * x), 0.02);
    }

    // E5: E[relu(z)^2] = E[z^2]/2, so a layer multiplies the second moment by n (4/n)/2 = 2, and He's by 1.
    [Fact]
    public void E5_the_typed_he_doubles_the_second_moment_at_every_relu_layer()
    {
        double Growth(string text)
        {
            var x = Fill("normal", [1, 500], stream: 99);
            var start = x.Average(v => v * v);
            for (var layer = 0u; layer < 10; layer++)
            {
                var w = Fill(text, [500, 500], stream: layer);
                x = [.. Enumerable.Range(0, 500).Select(o => Enumerable.Range(0, 500).Sum(i => w[o * 500 + i] * (layer == 0 ? x[i] : Math.Max(x[i], 0))))];
            }

            return Math.Log2(x.Average(v => v * v) / start) / 10;
        }

        // The first layer sees no ReLU: one doubling more in ten. Hanin and Rolnick 2018: Var(log) = 5 L/n, here std .32/10 in e-folds.
        Assert.Equal(1.1, Growth("he_literal"), 0.15);
        Assert.Equal(0.1, Growth("he_normal"), 0.15);
    }

    private static double[] Fill(string text, Shape shape, ulong seed = 1, uint stream = 0)
    {
        var values = new double[shape.Elements];
        Initializer.Create(text).Fill(values, shape, seed, stream);
        return values;
    }
}
