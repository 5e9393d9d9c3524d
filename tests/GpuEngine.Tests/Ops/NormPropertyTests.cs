using GpuEngine.Core;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>What the norms promise whatever the data.</summary>
public class NormPropertyTests
{
    public static TheoryData<int[]> Layouts() => new(new[] { 64, 37 }, new[] { 6, 5, 7, 9 });

    [Theory]
    [MemberData(nameof(Layouts))]
    public void Batch_norm_gives_mean_beta_and_variance_gamma_squared(int[] shape)
    {
        var c = new NormCase();
        var channels = shape[1];
        c.Normal("x", new Shape(shape), 5, 3);
        c.Normal("w", [channels]);
        c.Normal("b", [channels]);
        var y = F.BatchNorm(c["x"], null, null, c["w"], c["b"], training: true, eps: 0).Output;
        c.Output("y", y).Output("w", c["w"]).Output("b", c["b"]);
        var run = c.Run();
        var (places, samples) = (shape.Skip(2).Aggregate(1, (a, b) => a * b), shape[0]);
        for (var channel = 0; channel < channels; channel++)
        {
            var values = Enumerable.Range(0, samples * places).Select(i => run["y"][(i / places * channels + channel) * places + i % places]).ToArray();
            var mean = values.Average();
            // Roundings of float64 over some hundred values of size ten.
            Assert.Equal(run["b"][channel], mean, 1e-13);
            Assert.Equal(Math.Pow(run["w"][channel], 2), values.Average(v => (v - mean) * (v - mean)), 1e-12);
        }
    }

    [Fact]
    public void Batch_norm_does_not_see_the_scale_of_the_weights_before_it()
    {
        // BN(a W x) = BN(W x), and the gradient of W scales with 1/a (Ioffe and Szegedy 2015, section 3.3); a = 8 rounds nothing.
        var c = new NormCase();
        var x = c.Normal("x", [20, 6]);
        var w = c.Normal("w", [9, 6]);
        var dy = c.Normal("dy", [20, 9]);
        foreach (var (name, weight) in new[] { ("plain", w), ("scaled", w * 8) })
        {
            var y = F.BatchNorm(F.Linear(x, weight), null, null, training: true, eps: 0).Output;
            c.Output("y " + name, y).Output("dw " + name, Autodiff.VectorJacobian([y], [dy], [weight])[0]!);
        }

        var run = c.Run();
        Assert.Equal(run["y plain"], run["y scaled"]);
        Assert.Equal(run["dw plain"], run["dw scaled"].Select(v => v * 8).ToArray());
    }

    [Theory]
    [MemberData(nameof(Layouts))]
    public void Evaluation_repeats_training_once_the_running_statistics_are_exact(int[] shape)
    {
        var c = new NormCase(DType.F32);
        c.Normal("x", new Shape(shape), -2, 4);
        foreach (var name in new[] { "w", "b", "rm", "rv" }) c.Normal(name, [shape[1]]);
        var trained = F.BatchNorm(c["x"], c["rm"], c["rv"], c["w"], c["b"], training: true, momentum: 1, unbiased: false);
        var evaluated = F.BatchNorm(c["x"], trained.RunningMean, trained.RunningVar, c["w"], c["b"]);
        c.Output("trained", trained.Output).Output("evaluated", evaluated.Output).Output("rm", evaluated.RunningMean!).Output("rm'", trained.RunningMean!);
        var run = c.Run();
        // The same numbers go through the same formula; the blend with weight 1 may round the variance once: a few ulps of y.
        Close(run["trained"], run["evaluated"], 1e-6, "y");
        Assert.Equal(run["rm'"], run["rm"]);
    }

    [Theory]
    [InlineData(2, 3, 5, 7)]
    [InlineData(40, 12, 13, 17)]
    [InlineData(2, 2, 131, 130)]
    public void Group_norm_is_layer_norm_with_one_group_and_instance_norm_with_one_per_channel(int n, int channels, int height, int width)
    {
        var c = new NormCase(DType.F32);
        var x = c.Normal("x", [n, channels, height, width], 3);
        var dy = c.Normal("dy", x.Shape);
        Shape chw = [channels, height, width];
        var (w, b) = (c.Normal("w", [channels]), c.Normal("b", [channels]));
        Tensor Wide(Tensor p) => F.BroadcastTo(F.Reshape(p, [channels, 1, 1]), chw);
        foreach (var (name, one, other) in new[]
        {
            ("layer", F.GroupNorm(x, 1), F.LayerNorm(x, chw)),
            ("layer affine", F.GroupNorm(x, 1, w, b), F.LayerNorm(x, chw, Wide(w), Wide(b))),
            ("instance", F.GroupNorm(x, channels), F.InstanceNorm(x).Output),
            ("instance affine", F.GroupNorm(x, channels, w, b), F.InstanceNorm(x, null, null, w, b).Output),
        })
        {
            c.Output(name + " 1", one).Output(name + " 2", other);
            // With weights per element, layer_norm adds up its products in another order than group_norm: equal to rounding only.
            if (name == "layer affine") continue;
            c.Output(name + " d1", Autodiff.VectorJacobian([one], [dy], [x])[0]!).Output(name + " d2", Autodiff.VectorJacobian([other], [dy], [x])[0]!);
        }

        foreach (var fused in new[] { true, false })
        {
            var run = c.Run(fused: fused);
            foreach (var name in run.Keys.Where(k => k.EndsWith('1'))) Assert.Equal(run[name], run[name[..^1] + "2"]);
        }
    }

    [Theory]
    [MemberData(nameof(Layouts))]
    public void Fused_activations_and_residuals_equal_the_separate_ops(int[] shape)
    {
        var s = new Shape(shape);
        foreach (var spec in Activations.All)
        {
            var activation = Activations.Create(spec.Name);
            var c = new NormCase();
            var (x, r, dy) = (c.Normal("x", s), c.Normal("r", s), c.Normal("dy", s));
            var (w, b, v) = (c.Normal("w", [shape[1]]), c.Normal("b", [shape[1]]), c.Input("v", [shape[1]], i => i + 1));
            Shape tail = new(shape.AsSpan(1));
            var (wl, bl) = (c.Normal("wl", tail), c.Normal("bl", tail));
            Tensor Bn(Activation? a, bool training, Tensor? res) => F.BatchNorm(x, b, v, w, b, training, activation: a, residual: res).Output;
            Pair(c, "bn", Bn(activation, true, null), activation.On(Bn(null, true, null)), dy, "x", "w", "b");
            Pair(c, "bn eval", Bn(activation, false, null), activation.On(Bn(null, false, null)), dy, "x", "w");
            Pair(c, "bn add", Bn(activation, true, r), activation.On(Bn(null, true, null) + r), dy, "x", "w", "b", "r");
            Pair(c, "add", Bn(null, true, r), Bn(null, true, null) + r, dy, "x", "r");
            Pair(c, "gn", F.GroupNorm(x, 1, w, b, activation: activation), activation.On(F.GroupNorm(x, 1, w, b)), dy, "x", "w", "b");
            Pair(c, "ln", F.LayerNorm(x, tail, wl, bl, activation: activation), activation.On(F.LayerNorm(x, tail, wl, bl)), dy, "x", "wl", "bl");
            Pair(c, "rms", F.RmsNorm(x, tail, wl, activation: activation), activation.On(F.RmsNorm(x, tail, wl)), dy, "x", "wl");
            foreach (var fused in new[] { true, false })
            {
                var run = c.Run(fused: fused);
                // The same formulas in float64; sums over 378 values of order one.
                foreach (var name in run.Keys.Where(k => k.EndsWith('1'))) Close(run[name], run[name[..^1] + "2"], 1e-11, $"{spec.Name} {name}");
            }
        }
    }

    [Fact]
    public void An_empty_batch_normalises_to_nothing_and_leaves_the_running_statistics_alone()
    {
        var c = new NormCase(DType.F32);
        var x = c.Normal("x", [0, 3, 4]);
        var (m, v) = (c.Normal("m", [3]), c.Normal("v", [3]));
        var bn = F.BatchNorm(x, m, v, v, m, training: true);
        var instance = F.InstanceNorm(x, m, v);
        c.Output("m", m).Output("v", v).Output("m bn", bn.RunningMean!).Output("v bn", bn.RunningVar!).Output("y", bn.Output);
        c.Output("m in", instance.RunningMean!).Output("v in", instance.RunningVar!).Gradients(bn.Output, x, "v", "m");
        foreach (var fused in new[] { true, false })
        {
            var run = c.Run(fused: fused);
            Assert.Empty(run["y"]);
            foreach (var name in new[] { "m", "v" })
            {
                Assert.Equal(run[name], run[name + " bn"]);
                Assert.Equal(run[name], run[name + " in"]);
            }

            Assert.All(run["d v"].Concat(run["d m"]), g => Assert.Equal(0, g));
        }
    }

    [Fact]
    public void Misuse_is_told_in_one_sentence()
    {
        var x = F.Input("x", DType.F32, [1, 6, 1]);
        var wide = F.Input("wide", DType.F32, [2, 6, 4]);
        var p = F.Input("p", DType.F32, [5]);
        Fails(() => F.BatchNorm(x, null, null, training: true), "more than one value per channel", "[1, 6, 1]");
        Fails(() => F.BatchNorm(wide, null, null), "running_mean and running_var", "both are missing");
        Fails(() => F.BatchNorm(wide, p, null), "running_var is missing");
        Fails(() => F.BatchNorm(wide, null, null, p, training: true), "[6]", "f32[5]");
        Fails(() => F.BatchNorm(wide, null, null, training: true, residual: x), "residual", "f32[1, 6, 1]");
        Fails(() => F.BatchNorm(p, null, null, training: true), "[N, C, ...]");
        Fails(() => F.GroupNorm(wide, 4), "num_groups 4", "6 channels");
        Fails(() => F.GroupNorm(wide, 0), "num_groups 0");
        Fails(() => F.GroupNorm(x, 6), "holds one value");
        Fails(() => F.GroupNorm(wide, 2, p), "weight of shape [6]");
        Fails(() => F.LayerNorm(wide, [6]), "normalized_shape [6]", "[2, 6, 4]");
        Fails(() => F.LayerNorm(wide, []), "at least one axis");
        Fails(() => F.LayerNorm(wide, [4], null, p), "[4]", "f32[5]");
        Fails(() => F.InstanceNorm(x), "more than one place");
        Fails(() => F.InstanceNorm(wide, useInputStats: false), "both are missing");
        Fails(() => F.InstanceNorm(wide, p, p), "running statistics of shape [6]");
        Fails(() => F.LocalResponseNorm(wide, 0), "size must be at least 1");
        foreach (var call in new Func<object>[]
        {
            () => F.BatchNorm(wide, null, null, training: true, eps: -1), () => F.GroupNorm(wide, 2, eps: double.NaN),
            () => F.LayerNorm(wide, [4], eps: -1), () => F.InstanceNorm(wide, eps: -1), () => F.RmsNorm(wide, [4], eps: -1),
        })
        {
            Assert.Contains("eps must be", Assert.Throws<UserException>(call).Message, StringComparison.Ordinal);
        }
    }

    private static void Fails(Func<object> call, params string[] parts)
    {
        var message = Assert.Throws<ShapeException>(call).Message;
        Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
        Assert.EndsWith(".", message, StringComparison.Ordinal);
    }

    private static void Pair(NormCase c, string name, Tensor one, Tensor other, Tensor dy, params string[] wrt)
    {
        c.Output(name + " 1", one).Output(name + " 2", other);
        var (g1, g2) = (Autodiff.VectorJacobian([one], [dy], [.. wrt.Select(n => c[n])]), Autodiff.VectorJacobian([other], [dy], [.. wrt.Select(n => c[n])]));
        for (var i = 0; i < wrt.Length; i++) c.Output($"{name} {wrt[i]} 1", g1[i]!).Output($"{name} {wrt[i]} 2", g2[i]!);
    }

    private static void Close(double[] expected, double[] actual, double tolerance, string what)
    {
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= tolerance * Math.Max(1, Math.Abs(expected[i])), $"{what}[{i}]: {expected[i]:R} against {actual[i]:R}");
    }
}
