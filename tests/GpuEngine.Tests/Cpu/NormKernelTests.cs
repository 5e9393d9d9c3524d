using GpuEngine.Core.Graph;
using GpuEngine.Tests.Ops;
using Xunit;

namespace GpuEngine.Tests.Cpu;

/// <summary>
/// The CPU kernels of the norms on shapes that take each of their paths: one column, part of a register, several bands, chunks
/// of rows; planes shared out by channel and by sample, planes longer than a chunk; rows with weights per element and per unit.
/// </summary>
public class NormKernelTests
{
    public static TheoryData<string, int[]> Cases() => new()
    {
        { "bn", [2, 1] }, { "bn", [7, 19] }, { "bn", [130, 700] }, { "bn", [300, 1040] }, { "bn", [1500, 67] }, { "bn", [1026, 5] },
        { "bn", [4, 3, 1, 1] }, { "bn", [5, 3, 7] }, { "bn", [8, 40, 17, 17] }, { "bn", [3, 2, 210, 211] }, { "bn", [700, 2, 7, 7] }, { "bn", [1, 3, 5, 5] },
        { "ln", [1, 3] }, { "ln", [9, 35] }, { "ln", [300, 333] }, { "ln", [3, 40001] }, { "rms", [9, 35] }, { "rms", [300, 333] },
        { "gn", [3, 6] }, { "gn", [2, 6, 5] }, { "gn", [20, 12, 20, 21] }, { "gn", [2, 6, 130, 131] }, { "gn", [1000, 96] },
        { "in", [2, 3, 2] }, { "in", [20, 12, 20, 21] },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Results_have_the_same_bits_for_any_number_of_workers(string norm, int[] shape)
    {
        var c = Case(norm, shape, DType.F32, new Relu(), 0);
        var one = c.Run(threads: 1);
        foreach (var threads in new[] { 2, 3, 5 })
        {
            var more = c.Run(threads);
            Assert.All(one, o => Assert.Equal(o.Value, more[o.Key]));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Float_kernels_match_the_decomposition_in_double(string norm, int[] shape) => Compare(norm, shape, 0);

    [Theory]
    [InlineData("bn", new[] { 256, 40 })]
    [InlineData("bn", new[] { 3000, 20 })]
    [InlineData("bn", new[] { 16, 5, 30, 30 })]
    [InlineData("ln", new[] { 20, 3000 })]
    [InlineData("gn", new[] { 4, 6, 60, 60 })]
    [InlineData("in", new[] { 4, 6, 60, 60 })]
    public void A_mean_of_a_thousand_deviations_does_not_hurt(string norm, int[] shape) => Compare(norm, shape, 1000);

    [Fact]
    public void Evaluation_may_write_over_its_input()
    {
        foreach (var shape in new[] { new[] { 40, 33 }, [6, 5, 9, 7] })
        {
            var c = new NormCase(DType.F32);
            var x = c.Normal("x", new Shape(shape));
            var (m, v) = (c.Normal("m", [shape[1]]), c.Input("v", [shape[1]], i => i + 1));
            var inner = x * 2;
            Assert.Equal(0, new BatchNormOp(false, 0.1, 1e-5, false, true).InPlaceInput(0));
            c.Output("alone", F.BatchNorm(inner, m, v).Output);
            var alone = c.Run();
            c.Output("kept", inner);
            Assert.Equal(alone["alone"], c.Run()["alone"]);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_run_allocates_nothing(string norm, int[] shape)
    {
        var c = Case(norm, shape, DType.F32, new Relu(), 0);
        Assert.Equal(0, c.AllocatedByRun());
    }

    private static void Compare(string norm, int[] shape, double mean)
    {
        // A smooth activation: at the kink of relu a rounding decides between 0 and dy.
        var truth = Case(norm, shape, DType.F64, new Softplus(), mean).Run(fused: false);
        var actual = Case(norm, shape, DType.F32, new Softplus(), mean).Run();
        foreach (var (name, expected) in truth)
        {
            // Gradients of two or three values are small differences of terms of order one and more, whose roundings remain.
            var scale = Math.Max(expected.Max(Math.Abs), 1);
            // Roundings of float32: x itself is rounded to 2^-24 of its mean. Relative to the largest value 1e-5 covers sums of
            // some thousand terms; with a mean of 1000, half an ulp of the mean (3e-5) enters every normalised value.
            var allowed = scale * (mean == 0 ? 1e-5 : 1e-4);
            for (var i = 0; i < expected.Length; i++)
                Assert.True(Math.Abs(expected[i] - actual[name][i]) <= allowed, $"{name}[{i}]: {actual[name][i]:R} instead of {expected[i]:R}");
        }
    }

    private static NormCase Case(string norm, int[] shape, DType dtype, Activation activation, double mean)
    {
        var c = new NormCase(dtype);
        var x = c.Input("x", new Shape(shape), Rounded(mean, 1));
        var dy = c.Input("dy", new Shape(shape), Rounded(0, 2));
        var parameters = norm is "ln" or "rms" ? shape.AsSpan(1).ToArray() : [shape[1]];
        var (w, b) = (c.Input("w", new Shape(parameters), Rounded(1, 3)), c.Input("b", new Shape(parameters), Rounded(0, 4)));
        Tensor y;
        if (norm == "bn")
        {
            var (m, v) = (c.Input("m", [shape[1]], Rounded(0, 5)), c.Input("v", [shape[1]], _ => 1));
            var result = F.BatchNorm(x, m, v, w, b, training: true, activation: activation);
            c.Output("m'", result.RunningMean!).Output("v'", result.RunningVar!);
            y = result.Output;
        }
        else
        {
            y = norm switch
            {
                "ln" => F.LayerNorm(x, new Shape(parameters), w, b, activation: activation),
                "rms" => F.RmsNorm(x, new Shape(parameters), w, activation: activation),
                "gn" => F.GroupNorm(x, 3, w, b, activation: activation),
                _ => F.InstanceNorm(x, null, null, w, b, activation: activation).Output,
            };
        }

        c.Output("y", y);
        return norm == "rms" ? c.Gradients(y, dy, "x", "w") : c.Gradients(y, dy, "x", "w", "b");

        // Values that float holds exactly, so that both precisions see the same data.
        static Func<int, double> Rounded(double mean, int seed)
        {
            var random = new System.Random(seed);
            return _ => (float)(mean + Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        }
    }
}
