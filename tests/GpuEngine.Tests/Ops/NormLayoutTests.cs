using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>group_norm and instance_norm with the channels last.</summary>
public class NormLayoutTests
{
    public static TheoryData<int[], int> Shapes() => new() { { [3, 6], 2 }, { [2, 6, 5], 3 }, { [2, 4, 3, 7], 1 }, { [3, 8, 1, 1], 4 }, { [2, 5, 2, 3, 2], 5 }, { [0, 4, 3], 2 } };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Channels_last_is_channels_second_of_the_permuted_tensor(int[] shape, int groups)
    {
        foreach (var activation in new Activation?[] { null, new Silu() })
        {
            var c = new NormCase();
            var (x, dy) = (c.Normal("x", new Shape(shape), 1), c.Normal("dy", new Shape(shape)));
            foreach (var name in new[] { "w", "b", "m" }) c.Normal(name, [shape[1]]);
            c.Input("v", [shape[1]], i => i + 1);
            Pair("group", F.GroupNorm(x, groups, c["w"], c["b"], activation: activation), F.GroupNorm(Last(x), groups, c["w"], c["b"], activation: activation, channelsLast: true));
            Pair("bare", F.GroupNorm(x, groups, activation: activation), F.GroupNorm(Last(x), groups, activation: activation, channelsLast: true));
            if (x.Shape.Product(2, x.Rank) > 1)
            {
                foreach (var own in new[] { true, false })
                {
                    var first = F.InstanceNorm(x, c["m"], c["v"], c["w"], c["b"], own, 0.3, activation: activation);
                    var last = F.InstanceNorm(Last(x), c["m"], c["v"], c["w"], c["b"], own, 0.3, activation: activation, channelsLast: true);
                    Pair($"instance {own}", first.Output, last.Output);
                    c.Output($"mean {own} 1", first.RunningMean!).Output($"mean {own} 2", last.RunningMean!);
                    c.Output($"var {own} 1", first.RunningVar!).Output($"var {own} 2", last.RunningVar!);
                }
            }

            foreach (var fused in new[] { true, false })
            {
                var run = c.Run(fused: fused);
                // Float64, the same sums in another order.
                foreach (var key in run.Keys.Where(k => k.EndsWith('1'))) Assert.All(run[key].Zip(run[key[..^1] + "2"]), p => Assert.Equal(p.First, p.Second, 1e-12));
            }

            void Pair(string name, Tensor first, Tensor last)
            {
                c.Output($"{name} 1", first).Output($"{name} 2", Second(last));
                foreach (var input in new[] { "x", "w", "b" })
                {
                    if (Autodiff.VectorJacobian([first], [dy], [c[input]])[0] is not { } gradient) continue;
                    c.Output($"{name} d{input} 1", gradient).Output($"{name} d{input} 2", Autodiff.VectorJacobian([Second(last)], [dy], [c[input]])[0]!);
                }
            }
        }
    }

    [Fact]
    public void Misuse_names_the_layout()
    {
        var x = F.Input("x", DType.F32, [2, 5, 6]);
        Assert.Contains("6 channels", Assert.Throws<ShapeException>(() => F.GroupNorm(x, 4, channelsLast: true)).Message, StringComparison.Ordinal);
        Assert.Contains("[N, ..., C]", Assert.Throws<ShapeException>(() => F.GroupNorm(F.Input("v", DType.F32, [6]), 2, channelsLast: true)).Message, StringComparison.Ordinal);
        Assert.Contains("[N, ..., C]", Assert.Throws<ShapeException>(() => F.InstanceNorm(F.Input("v", DType.F32, [4, 6]), channelsLast: true)).Message, StringComparison.Ordinal);
        Assert.Contains("weight of shape [6]", Assert.Throws<ShapeException>(() => F.GroupNorm(x, 2, F.Input("w", DType.F32, [5]), channelsLast: true)).Message, StringComparison.Ordinal);
    }

    /// <summary>[N, C, ...] as [N, ..., C].</summary>
    private static Tensor Last(Tensor x) => F.Permute(x, [0, .. Enumerable.Range(2, x.Rank - 2), 1]);

    /// <summary>[N, ..., C] as [N, C, ...].</summary>
    private static Tensor Second(Tensor x) => F.Permute(x, [0, x.Rank - 1, .. Enumerable.Range(1, x.Rank - 2)]);
}
