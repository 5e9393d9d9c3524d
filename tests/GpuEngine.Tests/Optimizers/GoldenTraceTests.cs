using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Optimizers;
using Xunit;

namespace GpuEngine.Tests.Optimizers;

/// <summary>Fifty steps against traces of torch.optim (tests/golden/optimizers.py): every option, f32 and f64.</summary>
public class GoldenTraceTests
{
    private static readonly double[] Start = [1, -2, 0.5, 3, -0.25];
    private static readonly double[] Curvature = [0.5, 1, 2, 4, 0.01];

    private static readonly Dictionary<string, Optimizer> Cases = new()
    {
        ["sgd"] = new Sgd(0.05),
        ["sgd_weight_decay"] = new Sgd(0.05, weightDecay: 0.1),
        ["sgd_momentum"] = new Sgd(0.05, momentum: 0.9),
        ["sgd_dampening"] = new Sgd(0.05, momentum: 0.9, dampening: 0.5),
        ["sgd_nesterov"] = new Sgd(0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01),
        ["sgd_maximize"] = new Sgd(0.01, momentum: 0.5, maximize: true, weightDecay: 0.01),
        ["adagrad"] = new Adagrad(0.1),
        ["adagrad_options"] = new Adagrad(0.1, lrDecay: 0.01, weightDecay: 0.05, initialAccumulatorValue: 0.3, eps: 1e-6),
        ["adagrad_maximize"] = new Adagrad(0.01, maximize: true),
        ["rmsprop"] = new RmsProp(0.01),
        ["rmsprop_options"] = new RmsProp(0.01, alpha: 0.9, eps: 1e-3, weightDecay: 0.05),
        ["rmsprop_momentum"] = new RmsProp(0.01, momentum: 0.9),
        ["rmsprop_centered"] = new RmsProp(0.01, centered: true),
        ["rmsprop_centered_momentum"] = new RmsProp(0.01, centered: true, momentum: 0.5, maximize: true),
        ["adam"] = new Adam(0.01),
        ["adam_options"] = new Adam(0.01, 0.8, 0.95, 1e-3, 0.1),
        ["adam_amsgrad"] = new Adam(0.01, amsgrad: true),
        ["adam_maximize"] = new Adam(0.01, maximize: true, weightDecay: 0.01),
        ["adamw"] = new AdamW(0.01),
        ["adamw_options"] = new AdamW(0.01, 0.8, 0.95, 1e-3, 0.2, amsgrad: true),
        ["adamw_maximize"] = new AdamW(0.01, maximize: true),
    };

    public static TheoryData<string> Names() => [.. Cases.Keys];

    [Fact]
    public void Every_trace_has_a_case() => Assert.Equal(Lines().Select(l => l[0]).ToHashSet(), [.. Cases.Keys]);

    // The fused kernel contracts the products that torch's CPU kernels contract: the bits were equal when this was written.
    // Two units leave room for a C library whose pow rounds the bias correction differently.
    [Theory]
    [MemberData(nameof(Names))]
    public void F32_steps_are_torchs_to_two_units_in_the_last_place(string name) => Compare(name, DType.F32, true, Math.Pow(2, -22));

    [Theory]
    [MemberData(nameof(Names))]
    public void F64_steps_are_torchs_to_1e_12(string name) => Compare(name, DType.F64, true, 1e-12);

    // The decomposition rounds every product; fifty steps amplify that where the iteration ascends.
    [Theory]
    [MemberData(nameof(Names))]
    public void The_decomposition_is_the_same_rule(string name) => Compare(name, DType.F64, false, 1e-12);

    private static void Compare(string name, DType dtype, bool fused, double tolerance)
    {
        var optimizer = Cases[name];
        using var run = new OptimizerRun(optimizer, dtype, Start, (w, push) => w * F.Literal([5], dtype, Curvature) + push, fused: fused);
        var label = dtype == DType.F32 ? "f32" : "f64";
        var expected = Lines().Where(l => l[0] == name && l[1] == label).ToDictionary(l => int.Parse(l[2], CultureInfo.InvariantCulture), l => l[3..]);
        Assert.Equal(8, expected.Count);
        for (var step = 0; step < 50; step++)
        {
            run.Step(optimizer.LearningRate, [.. Enumerable.Range(0, 5).Select(i => ((7 * step + 3 * i) % 11 - 5) / 16.0)]);
            if (!expected.TryGetValue(step + 1, out var bits)) continue;
            var actual = run.Param;
            for (var i = 0; i < 5; i++)
            {
                var value = dtype == DType.F32
                    ? BitConverter.Int32BitsToSingle(int.Parse(bits[i], NumberStyles.HexNumber, CultureInfo.InvariantCulture))
                    : BitConverter.Int64BitsToDouble(long.Parse(bits[i], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
                // Parameters pass through zero, so the floor of the scale is a typical parameter.
                var error = Math.Abs(actual[i] - value) / Math.Max(Math.Abs(value), dtype == DType.F32 ? 0.1 : 1);
                Assert.True(error <= tolerance, $"{name}, step {step + 1}, parameter {i}: torch has {value:R}, this has {actual[i]:R}");
            }
        }
    }

    private static IEnumerable<string[]> Lines()
    {
        using var stream = typeof(GoldenTraceTests).Assembly.GetManifestResourceStream("optimizers.csv")!;
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line) yield return line.Split(',');
    }
}
