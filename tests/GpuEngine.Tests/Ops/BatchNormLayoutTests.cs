using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>batch_norm with the channels last, and the sign bits that relu above a residual keeps.</summary>
public class BatchNormLayoutTests
{
    /// <summary>Shapes with the channels second; bytes of 8, 4, 2 and 1 bits in either layout.</summary>
    public static TheoryData<int[]> Shapes() => new(
        new[] { 6, 16 }, new[] { 5, 12 }, new[] { 4, 6 }, new[] { 7, 5 }, new[] { 3, 8, 2, 4 }, new[] { 2, 3, 2, 6 }, new[] { 2, 5, 3, 3 },
        new[] { 5, 4, 1, 1 }, new[] { 70, 9, 2 });

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Channels_last_is_channels_second_of_the_permuted_tensor(int[] shape)
    {
        foreach (var activation in new Activation?[] { null, new Relu(), new Silu() })
        {
            var c = new NormCase();
            var (x, r, dy) = (c.Normal("x", new Shape(shape)), c.Normal("r", new Shape(shape)), c.Normal("dy", new Shape(shape)));
            foreach (var name in new[] { "w", "b", "m" }) c.Normal(name, [shape[1]]);
            c.Input("v", [shape[1]], i => i + 1);
            foreach (var training in new[] { true, false })
            {
                var first = F.BatchNorm(x, c["m"], c["v"], c["w"], c["b"], training, activation: activation, residual: r);
                var last = F.BatchNorm(Last(x), c["m"], c["v"], c["w"], c["b"], training, activation: activation, residual: Last(r), channelsLast: true);
                c.Output($"y {training} 1", first.Output).Output($"y {training} 2", Second(last.Output));
                c.Output($"mean {training} 1", first.RunningMean!).Output($"mean {training} 2", last.RunningMean!);
                c.Output($"var {training} 1", first.RunningVar!).Output($"var {training} 2", last.RunningVar!);
                foreach (var name in new[] { "x", "w", "b", "r" })
                {
                    c.Output($"d{name} {training} 1", Autodiff.VectorJacobian([first.Output], [dy], [c[name]])[0]!);
                    c.Output($"d{name} {training} 2", Autodiff.VectorJacobian([Second(last.Output)], [dy], [c[name]])[0]!);
                }
            }

            foreach (var fused in new[] { true, false })
            {
                var run = c.Run(fused: fused);
                // Float64, the same sums in another order.
                foreach (var key in run.Keys.Where(k => k.EndsWith('1'))) Assert.All(run[key].Zip(run[key[..^1] + "2"]), p => Assert.Equal(p.First, p.Second, 1e-12));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void The_mask_has_a_bit_for_every_element_that_passes_the_gradient(int[] shape)
    {
        foreach (var channelsLast in new[] { false, true })
        {
            foreach (var dtype in new[] { DType.F32, DType.F64 })
            {
                var c = new NormCase(dtype);
                // NaN passes the gradient, as in torch.
                var r = c.Input("r", new Shape(shape), i => i == 1 ? double.NaN : i == 2 ? double.PositiveInfinity : Math.Sin(i));
                var result = F.BatchNorm(c.Normal("x", new Shape(shape)), null, null, training: true, activation: new Relu(), residual: r, channelsLast: channelsLast);
                var node = result.Output.Node;
                Assert.Equal(SignMask.TypeOf(r.Shape, channelsLast), node.Outputs[^1].Type);
                c.Output("y", result.Output).Output("mask", node.Outputs[^1]).Output("unpacked", F.Cast(SignMask.Unpack(node.Outputs[^1], r.Shape, channelsLast), dtype));
                var (fused, plain) = (c.Run(), c.Run(fused: false));
                Assert.Equal(plain["mask"], fused["mask"]);
                Assert.Equal([.. fused["y"].Select(y => y <= 0 ? 0.0 : 1.0)], fused["unpacked"]);
                Assert.Equal(1, fused["unpacked"][1]);
            }
        }
    }

    [Fact]
    public void Second_derivatives_pass_a_relu_with_a_mask()
    {
        var c = new NormCase();
        Shape shape = [5, 4, 3, 3];
        var (x, r, v) = (c.Normal("x", shape), c.Normal("r", shape), c.Normal("v", shape));
        foreach (var name in new[] { "w", "b" }) c.Normal(name, [4]);
        Tensor Loss(bool fused)
        {
            var h = x * x;
            var y = F.BatchNorm(h, null, null, c["w"], c["b"], true, activation: fused ? new Relu() : null, residual: fused ? r * x : null).Output;
            return F.Sum(F.Exp(fused ? y : F.Relu(y + r * x)));
        }

        foreach (var fused in new[] { true, false })
        {
            var products = Autodiff.HessianVector(Loss(fused), [x, c["w"]], [v, c["w"]]);
            c.Output($"x {fused}", products[0]).Output($"w {fused}", products[1]);
        }

        var run = c.Run();
        foreach (var name in new[] { "x", "w" })
            Assert.All(run[name + " True"].Zip(run[name + " False"]), p => Assert.Equal(p.First, p.Second, 1e-9 * Math.Max(1, Math.Abs(p.First))));
    }

    [Fact]
    public void The_residual_is_not_kept_for_the_gradient()
    {
        var (x, r) = (F.Input("x", DType.BF16, [8, 2, 2, 16]), F.Input("r", DType.BF16, [8, 2, 2, 16]));
        var y = F.BatchNorm(x, null, null, training: true, activation: new Relu(), residual: r, channelsLast: true).Output;
        var backward = Autodiff.VectorJacobian([y], [F.Ones(y.Shape, DType.BF16)], [x])[0]!.Node;
        Assert.DoesNotContain(r, backward.Inputs);
        Assert.Equal(new TensorType(DType.U8, [2, 32]), backward.Inputs[^1].Type);
        // In evaluation, and with other activations, it is.
        var silu = F.BatchNorm(x, null, null, training: true, activation: new Silu(), residual: r, channelsLast: true).Output;
        Assert.Contains(r, Autodiff.VectorJacobian([silu], [F.Ones(y.Shape, DType.BF16)], [x])[0]!.Node.Inputs);
    }

    [Fact]
    public void An_empty_batch_has_an_empty_mask()
    {
        var c = new NormCase(DType.F32);
        var (x, r) = (c.Normal("x", [0, 3, 8]), c.Normal("r", [0, 3, 8]));
        var y = F.BatchNorm(x, null, null, training: true, activation: new Relu(), residual: r, channelsLast: true).Output;
        c.Output("y", y).Output("mask", y.Node.Outputs[^1]).Gradients(y, r, "x", "r");
        foreach (var fused in new[] { true, false }) Assert.All(c.Run(fused: fused).Values, Assert.Empty);
    }

    [Fact]
    public void Misuse_names_the_layout()
    {
        var x = F.Input("x", DType.F32, [2, 3, 5]);
        var three = F.Input("w", DType.F32, [3]);
        var message = Assert.Throws<ShapeException>(() => F.BatchNorm(x, null, null, three, training: true, channelsLast: true)).Message;
        Assert.Contains("has 5 channels", message, StringComparison.Ordinal);
        message = Assert.Throws<ShapeException>(() => F.BatchNorm(three, null, null, training: true, channelsLast: true)).Message;
        Assert.Contains("[N, ..., C]", message, StringComparison.Ordinal);
        message = Assert.Throws<ShapeException>(
            () => new BatchNormBackwardOp(true, false, new Relu(), true, Mask: true).Apply(x, x, three, three, x)).Message;
        Assert.Contains("sign bits u8[2, 3, 5]", message, StringComparison.Ordinal);
    }

    /// <summary>[N, C, ...] to [N, ..., C].</summary>
    private static Tensor Last(Tensor x) => F.Permute(x, [0, .. Enumerable.Range(2, x.Rank - 2), 1]);

    /// <summary>[N, ..., C] to [N, C, ...].</summary>
    private static Tensor Second(Tensor x) => F.Permute(x, [0, x.Rank - 1, .. Enumerable.Range(1, x.Rank - 2)]);
}
