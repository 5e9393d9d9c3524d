using GpuEngine.Core;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>bias_act on the CPU: against the ops it is made of, for any number of workers, and misuse.</summary>
public class BiasActTests
{
    // One element, short rows, rows of a register and a tail, several items, planes in pieces, no bias.
    [Theory]
    [InlineData(1, true, 1, 1)]
    [InlineData(1, true, 70, 3)]
    [InlineData(1, true, 900, 37)]
    [InlineData(1, true, 2, 3, 100, 97)]
    [InlineData(0, true, 5, 300)]
    [InlineData(1, false, 170, 151)]
    public void One_pass_is_what_several_are(int dim, bool bias, params int[] shape)
    {
        var c = new NormCase();
        var x = c.Normal("x", new Shape(shape));
        var b = bias ? c.Normal("b", [shape[dim]]) : null;
        var r = c.Normal("r", x.Shape);
        var dy = c.Normal("dy", x.Shape);
        var generator = F.Literal([2], DType.I64, 5, 2);
        var dropout = new DropoutOp(0.3, 4);
        string[] wrt = bias ? ["x", "r", "b"] : ["x", "r"];
        foreach (var activation in new Activation[] { new Gelu(), new Relu() })
        {
            var column = b is null ? null : F.Reshape(b, new Shape([.. shape.Select((n, i) => i == dim ? n : 1)]));
            var apart = F.Dropout(activation.On(column is null ? x : x + column), 0.3, true, generator, 4);
            var joined = F.BiasAct(x, b, activation, dropout, generator, dim: dim).Output;
            foreach (var (name, y) in new[] { ("1", apart + r), ("2", F.BiasAct(x, b, activation, dropout, generator, r, dim).Output), ("3", apart), ("4", joined) })
            {
                c.Output($"{activation.Name} y {name}", y);
                var gradients = Autodiff.VectorJacobian([y], [dy], [.. wrt.Select(n => c[n])]);
                for (var i = 0; i < wrt.Length; i++)
                {
                    if (gradients[i] is { } g) c.Output($"{activation.Name} d{wrt[i]} {name}", g);
                }
            }
        }

        var run = c.Run(threads: 1);
        foreach (var key in run.Keys.Where(k => k[^1] is '1' or '3'))
        {
            // Float64; sums of up to 19400 terms in another order.
            var other = run[key[..^1] + (char)(key[^1] + 1)];
            Assert.All(run[key].Zip(other), p => Assert.Equal(p.First, p.Second, 1e-11 * Math.Max(1, Math.Abs(p.First))));
        }

        var three = c.Run(threads: 3);
        Assert.All(run.Keys, key => Assert.Equal(run[key], three[key]));
    }

    [Fact]
    public void Counts_tell_dead_units_and_what_is_not_finite()
    {
        double[] x = [-1, 2, double.NaN, -3, 0, 1, -1, double.PositiveInfinity, 5];
        var c = new NormCase();
        var input = c.Input("x", [3, 3], i => x[i]);
        var (y, positive, nonfinite) = F.BiasAct(input, null, new Relu(), counts: true);
        var run = c.Output("y", y).Output("positive", positive!).Output("nonfinite", nonfinite!).Run();
        Assert.Equal([0, 2, 2], run["positive"]);
        Assert.Equal([0, 1, 1], run["nonfinite"]);
    }

    [Fact]
    public void A_term_added_to_the_gradient_stays_out_of_the_biases()
    {
        var c = new NormCase();
        Tensor[] inputs = [c.Normal("dy", [5, 3]), c.Normal("x", [5, 3]), c.Normal("b", [3]), c.Normal("r", [5, 3])];
        var without = new BiasActBackwardOp(new Tanh(), null, 1, true, false).Apply(inputs[..3]);
        var with = new BiasActBackwardOp(new Tanh(), null, 1, true, false, true).Apply(inputs);
        var run = c.Output("1", without.Outputs[0] + inputs[3]).Output("2", with.Outputs[0]).Output("3", without.Outputs[1]).Output("4", with.Outputs[1]).Run();
        Assert.All(run["1"].Zip(run["2"]).Concat(run["3"].Zip(run["4"])), p => Assert.Equal(p.First, p.Second, 1e-14 * 10));
        Assert.Throws<ShapeException>(() => new BiasActBackwardOp(new Tanh(), null, 1, false, false, true).Apply(inputs[0], inputs[1], inputs[2]));
    }

    [Fact]
    public void Nothing_to_do_is_nothing_done()
    {
        var x = F.Input("x", DType.F32, [3, 4]);
        Assert.Same(x, F.BiasAct(x, null, null).Output);
        Assert.Same(x, F.BiasAct(x, null, new Identity(), new DropoutOp(0, 1)).Output);
    }

    [Fact]
    public void Misuse_is_told()
    {
        var x = F.Input("x", DType.F32, [3, 4]);
        Assert.Contains("4 channels along axis 1", Assert.Throws<ShapeException>(() => F.BiasAct(x, F.Input("b", DType.F32, [3]), null)).Message);
        Assert.Throws<ShapeException>(() => F.BiasAct(x, F.Input("b", DType.F32, [4]), null, dim: 2));
        Assert.Throws<ShapeException>(() => F.BiasAct(x, null, new Relu(), residual: F.Input("r", DType.F32, [4])));
        Assert.Throws<ShapeException>(() => F.BiasAct(x, null, null, new DropoutOp(0.5, 1), F.Input("state", DType.I64, [3])));
        Assert.Throws<UserException>(() => new DropoutOp(1.5, 1));
    }
}
