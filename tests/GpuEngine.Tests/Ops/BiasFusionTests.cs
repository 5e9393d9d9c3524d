using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>The rewrite that folds activation, dropout and residual into linear layers or into one op behind them.</summary>
public class BiasFusionTests
{
    [Fact]
    public void A_net_with_every_kind_of_chain_keeps_its_loss_and_gradients()
    {
        var c = new NormCase();
        var x = c.Normal("x", [6, 5]);
        var generator = F.Literal([2], DType.I64, 7, 1);
        Tensor[] w = [.. Enumerable.Range(0, 6).Select(i => c.Normal($"w{i}", [5, 5], 0, 0.6))];
        Tensor[] b = [.. Enumerable.Range(0, 6).Select(i => c.Normal($"b{i}", [5]))];
        Tensor Drop(Tensor t, int stream) => F.Dropout(t, 0.3, true, generator, stream);
        var h = F.Relu(F.Linear(x, w[0], b[0]));
        h = Drop(F.Gelu(F.Linear(h, w[1], b[1])), 1);
        h += Drop(F.Relu(F.Linear(h, w[2], b[2])), 2);
        h = F.Linear(h, w[3], b[3]) + h;
        h = F.Relu(F.Linear(h, w[4]) + h);
        h = Drop(F.Sigmoid(h * 2), 3);
        h = F.Tanh(F.Linear(h, w[5], b[5]));
        var before = F.Mean(h * h);
        var after = Fusions.Apply([before])[before];
        Assert.Equal(
            ["linear relu", "linear", "gelu dropout", "linear", "relu dropout residual", "linear residual", "linear relu residual", "sigmoid dropout", "linear", "tanh"],
            Traversal.Ancestors([after]).Select(n => Text(n.Op)).OfType<string>());
        Assert.DoesNotContain(Traversal.Ancestors([after]), n => n.Op is Activation or DropoutOp);
        Assert.All(Traversal.Ancestors([after]), n => Assert.All(n.Inputs, t => Assert.True(t.Node.Id < n.Id)));

        Tensor[] wrt = [x, .. w, b[0], b[1], b[2], b[3], b[5]];
        foreach (var (name, loss) in new[] { ("1", before), ("2", after) })
        {
            c.Output("loss " + name, loss);
            var gradients = Autodiff.Gradients(loss, wrt);
            for (var i = 0; i < wrt.Length; i++) c.Output($"gradient {i} {name}", gradients[i]);
            // The fused ops can be differentiated twice.
            c.Output("curvature " + name, Autodiff.HessianVector(loss, [w[1]], [w[4]])[0]);
        }

        var run = c.Run();
        // Float64, the same formulas: only the order of a few roundings differs.
        foreach (var key in run.Keys.Where(k => k.EndsWith('1')))
            Assert.All(run[key].Zip(run[key[..^1] + "2"]), p => Assert.Equal(p.First, p.Second, 1e-13 * Math.Max(1, Math.Abs(p.First))));
    }

    [Fact]
    public void Biases_of_convolutions_and_of_sums_are_taken_over()
    {
        var c = new NormCase();
        var x = c.Normal("x", [2, 3, 5, 4]);
        Tensor[] wrt = [x, c.Normal("w", [4, 3, 2, 2]), c.Normal("b", [4]), c.Normal("last", [3])];
        var h = F.Dropout(F.Relu(F.Conv2d(x, wrt[1], wrt[2])), 0.2, true, F.Literal([2], DType.I64, 7, 1), 3);
        h = F.Silu(h + F.Reshape(wrt[2], [4, 1, 1]));
        h = F.Gelu(h + wrt[3]);
        // Nothing follows this bias; and here it is no vector.
        h = F.Conv2d(h, F.Reshape(wrt[1], [3, 4, 2, 2]), wrt[3]);
        h = F.Tanh(h + F.Input("scalar", DType.F64, Shape.Scalar) * 0);
        var before = F.Mean(h * h);
        var after = Fusions.Apply([before])[before];
        Assert.Equal([1, 1, 3], Traversal.Ancestors([after]).Select(n => n.Op).OfType<BiasActOp>().Select(o => o.Dim));
        Assert.Equal([false, true], Traversal.Ancestors([after]).Select(n => n.Op).OfType<Conv2dOp>().Select(o => o.Bias));
        c.Input("scalar", Shape.Scalar, _ => 1);
        foreach (var (name, loss) in new[] { ("1", before), ("2", after) })
        {
            var gradients = Autodiff.Gradients(loss, wrt);
            for (var i = 0; i < wrt.Length; i++) c.Output($"gradient {i} {name}", gradients[i]);
        }

        var run = c.Run();
        foreach (var key in run.Keys.Where(k => k.EndsWith('1')))
            Assert.All(run[key].Zip(run[key[..^1] + "2"]), p => Assert.Equal(p.First, p.Second, 1e-13 * Math.Max(1, Math.Abs(p.First))));
    }

    [Fact]
    public void A_value_that_somebody_reads_is_not_fused_away()
    {
        var x = F.Input("x", DType.F32, [3, 4]);
        var z = F.Linear(x, F.Input("w", DType.F32, [4, 4]), F.Input("b", DType.F32, [4]));
        var y = F.Relu(z);
        Assert.Single(Fused(y));
        Assert.Empty(Fused(y, z));
        // The product stays, its two readers are one op.
        Assert.Equal("relu residual", Text(Assert.Single(Fused(y + z)).Op));
        // A sum that broadcasts is no residual; nor is a value's sum with itself.
        Assert.Empty(Fused(z + F.Input("row", DType.F32, [4])));
        Assert.Empty(Fused(z + z));
        // One op alone has nothing to join, nor has an activation behind a product without a bias.
        Assert.Empty(Fused(F.Gelu(x)));
        Assert.Empty(Fused(F.Gelu(F.Linear(x, F.Input("w", DType.F32, [4, 4])))));
    }

    [Fact]
    public void The_fused_op_belongs_to_its_linear_layer()
    {
        var x = F.Input("x", DType.F32, [3, 4]);
        Tensor y;
        using (Scope.Enter("linear")) y = F.Linear(x, F.Input("w", DType.F32, [4, 4]), F.Input("b", DType.F32, [4]));
        using (Scope.Enter("act")) y = F.Silu(y);
        Assert.Equal("linear", Fusions.Apply([y])[y].Node.Scope);
    }

    [Fact]
    public void Only_activations_whose_slope_follows_from_the_output_go_into_a_linear_op()
    {
        var (x, w) = (F.Input("x", DType.F32, [3, 4]), F.Input("w", DType.F32, [5, 4]));
        Assert.Throws<ArgumentException>(() => new LinearOp(false, new Gelu()).Apply(x, w));
        Assert.Throws<ShapeException>(() => new LinearOp(false, null, true).Apply(x, w, x));
        Assert.Throws<ShapeException>(() => F.BiasAct(x, F.Input("b", DType.F32, [5]), new Relu()));
        Assert.Throws<ShapeException>(() => F.BiasAct(x, null, new Relu(), residual: w));
    }

    /// <summary>Launches of one more hidden layer: the products forward and two backward, and what cannot go into them.</summary>
    [Theory]
    [InlineData(NormKind.None, "relu", 0, DType.F32, 4)]
    [InlineData(NormKind.None, "gelu", 0, DType.F32, 5)]
    [InlineData(NormKind.None, "relu", 0.1, DType.F32, 5)]
    [InlineData(NormKind.None, "gelu", 0.1, DType.F32, 5)]
    [InlineData(NormKind.Batch, "relu", 0, DType.F32, 5)]
    public void A_hidden_layer_takes_few_launches(NormKind norm, string activation, double dropout, DType compute, int launches)
    {
        int Launches(int depth)
        {
            var options = new MlpOptions { Depth = depth, Width = 32, Norm = norm, Activation = activation, Dropout = dropout };
            var step = new TrainStep(new ModelVariables(Mlp.Create(20, 10, options)), [16, 20], Losses.CrossEntropy, new AdamW(), new StepOptions { Compute = compute });
            var target = new CudaPlanTarget(new CudaLimits { HasCublas = true, HasCublasLt = true }, new CudaDeviceOptions());
            return Planner.Plan(step.Program, target).Launches.Count;
        }

        Assert.Equal(launches, Launches(4) - Launches(3));
    }

    private static Node[] Fused(params Tensor[] outputs)
    {
        var map = Fusions.Apply(outputs);
        return [.. Traversal.Ancestors(outputs.Select(t => map[t])).Where(n => n.Op is BiasActOp or LinearOp { Activation: not null } or LinearOp { Residual: true })];
    }

    private static string? Text(Op op) => op switch
    {
        LinearOp o => string.Join(' ', new[] { "linear", o.Activation?.Name, o.Residual ? "residual" : null }.OfType<string>()),
        BiasActOp o => string.Join(' ', new[] { o.Activation?.Name, o.Dropout?.Name, o.Residual ? "residual" : null }.OfType<string>()),
        _ => null,
    };
}
