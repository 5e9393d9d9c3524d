using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>The rewrite that folds activations and residuals into the norms before them.</summary>
public class NormFusionTests
{
    [Fact]
    public void A_residual_net_keeps_its_losses_gradients_and_running_statistics()
    {
        var c = new NormCase();
        var x = c.Normal("x", [6, 4, 5, 5]);
        // Parameters are views of one flat vector, as a trainer lays them out.
        var flat = c.Normal("flat", [64]);
        Tensor Channel(int at) => F.Narrow(flat, 0, at, 4);
        Tensor[] parameters = [.. Enumerable.Range(0, 8).Select(i => Channel(4 * i))];
        var (m, v) = (c.Normal("m", [4]), c.Input("v", [4], i => i + 1));
        var first = F.BatchNorm(x, m, v, parameters[0], parameters[1], training: true);
        var h = F.Relu(first.Output);
        var inner = F.BatchNorm(h * 2, null, null, parameters[2], parameters[3], training: true).Output;
        h = F.Relu(h + inner);
        h = F.Gelu(F.GroupNorm(h, 2, parameters[4], parameters[5]));
        h = F.Sigmoid(F.LayerNorm(h, [5], null, null) * F.Reshape(parameters[6], [4, 1, 1]));
        var loss = F.Mean(h * h);
        Tensor[] before = [loss, first.RunningMean!, first.RunningVar!];

        var map = FuseActivations.Apply(before);
        Tensor[] after = [.. before.Select(t => map[t])];
        Assert.All(parameters[..7], p => Assert.Same(p, map[p]));
        Assert.Same(flat, map[flat]);
        Assert.Equal(["batch_norm", "batch_norm", "group_norm"], Fused(after).Select(n => n.Op.Name));
        Assert.Contains(Fused(after), n => n.Op is BatchNormOp { Residual: true });
        Assert.DoesNotContain(Traversal.Ancestors(after), n => n.Op is Relu or Gelu);
        // Sigmoid stays: a product stands between it and the norm.
        Assert.Contains(Traversal.Ancestors(after), n => n.Op is Sigmoid);
        Assert.All(Traversal.Ancestors(after), n => Assert.All(n.Inputs, t => Assert.True(t.Node.Id < n.Id)));

        foreach (var (name, root) in new[] { ("1", before), ("2", after) })
        {
            c.Output("loss " + name, root[0]).Output("mean " + name, root[1]).Output("var " + name, root[2]);
            c.Output("gradient " + name, Autodiff.Gradients(root[0], [flat])[0]);
        }

        var run = c.Run();
        // Float64, the same formulas: only the order of a few roundings differs.
        foreach (var key in run.Keys.Where(k => k.EndsWith('1')))
            Assert.All(run[key].Zip(run[key[..^1] + "2"]), p => Assert.Equal(p.First, p.Second, 1e-13 * Math.Max(1, Math.Abs(p.First))));
    }

    [Fact]
    public void A_value_that_somebody_reads_is_not_fused_away()
    {
        var c = new NormCase();
        var x = c.Normal("x", [6, 4]);
        var z = F.BatchNorm(x, null, null, training: true);
        var y = F.Relu(z.Output);
        Assert.Empty(Fused(Map(y, z.Output)));
        Assert.Empty(Fused(Map(y + z.Output)));
        Assert.Single(Fused(Map(y)));
        // The statistics are read before the activation stands: the fused op would come too late.
        var early = F.BatchNorm(x, null, null, training: true);
        var read = early.Mean * 2;
        Assert.Empty(Fused(Map(F.Relu(early.Output), read)));
        // A sum that broadcasts is no residual.
        Assert.Empty(Fused(Map(F.Relu(F.BatchNorm(x, null, null, training: true).Output + F.Input("row", DType.F64, [4])))));
    }

    [Fact]
    public void A_graph_without_anything_to_fuse_stays_the_very_same()
    {
        var x = F.Input("x", DType.F32, [3, 4]);
        var y = F.Linear(x, F.Input("w", DType.F32, [5, 4])) * 2;
        var map = FuseActivations.Apply([y]);
        Assert.All(map, p => Assert.Same(p.Key, p.Value));
        var rewritten = Traversal.Rewrite([y], (node, inputs) => node.Op is BinaryOp ? node.Op.Apply(inputs).Outputs : null);
        Assert.NotSame(y, rewritten[y]);
        Assert.Same(y.Node.Inputs[0], rewritten[y.Node.Inputs[0]]);
    }

    [Fact]
    public void The_fused_op_belongs_to_the_layer_of_its_norm()
    {
        var x = F.Input("x", DType.F32, [3, 4]);
        Tensor z;
        using (Scope.Enter("norm")) z = F.LayerNorm(x, [4]);
        Tensor y;
        using (Scope.Enter("act")) y = F.Relu(z);
        Assert.Equal("norm", Map(y)[0].Node.Scope);
    }

    private static Tensor[] Map(params Tensor[] outputs)
    {
        var map = FuseActivations.Apply(outputs);
        return [.. outputs.Select(t => map[t])];
    }

    private static Node[] Fused(IEnumerable<Tensor> outputs) =>
        [.. Traversal.Ancestors(outputs).Where(n => n.Op is BatchNormOp { Activation: not null } or RowNormOp { Activation: not null })];
}
