namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites a forward graph of evaluation: a batch_norm with running statistics behind a convolution or a linear layer becomes part of it,
/// w' = w s and b' = (b - mean) s + bias with s = weight / sqrt(var + eps) per output channel (Jacob et al. 2018, "Quantization and training
/// of neural networks for efficient integer-arithmetic-only inference", section 3.2). Where a residual is added and activated behind it, one
/// op does that with b'. Only values that nobody else reads disappear. Results keep their values but for the roundings of w' and b', a few
/// units of the last place of the dtype that layers compute in.
/// </summary>
public static class FoldBatchNorms
{
    /// <summary>The map from every tensor that <paramref name="outputs"/> depend on to its replacement; what is folded away has none.</summary>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var nodes = Traversal.Ancestors(outputs);
        var foldings = Find(nodes, outputs);
        var inside = foldings.SelectMany(f => new[] { f.Layer, f.Norm, f.Sum, f.Last }).OfType<Node>().ToHashSet();
        var byLast = foldings.ToDictionary(f => f.Last);
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in nodes)
        {
            if (byLast.TryGetValue(node, out var folding)) map[node.Outputs[0]] = Fold(folding, map);
            if (inside.Contains(node)) continue;
            using var scope = Scope.Restore(node.Scope);
            var result = Traversal.Rebuild(node, [.. node.Inputs.Select(t => map[t])]);
            for (var i = 0; i < result.Count; i++) map[node.Outputs[i]] = result[i];
        }

        return map;
    }

    private static List<Folding> Find(IReadOnlyList<Node> nodes, IReadOnlyList<Tensor> outputs)
    {
        var readers = nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);
        var results = outputs.ToHashSet();
        var taken = new HashSet<Node>();
        var found = new List<Folding>();
        foreach (var norm in nodes.Where(n => n.Op is BatchNormOp { Training: false, Activation: null, Residual: false, ChannelsLast: false }))
        {
            var x = norm.Inputs[0];
            if (x.Node.Op is not (Conv2dOp or LinearOp { Activation: null, Residual: false }) || x.Rank is not (2 or 4) || OnlyReader(x) is null) continue;
            if (norm.Outputs.Skip(1).Any(t => results.Contains(t) || readers[t].Any())) continue;
            var folding = new Folding(x.Node, norm, null, null, norm);
            if (OnlyReader(norm.Outputs[0]) is { Op: BinaryOp { Kind: BinaryKind.Add } } sum && taken.Add(sum))
            {
                var residual = sum.Inputs[0] == norm.Outputs[0] ? sum.Inputs[1] : sum.Inputs[0];
                if (residual.Type == x.Type && OnlyReader(sum.Outputs[0]) is { Op: Activation } last) folding = new Folding(x.Node, norm, sum, residual, last);
            }

            found.Add(folding);
        }

        return found;

        Node? OnlyReader(Tensor t) => !results.Contains(t) && readers[t].Count() == 1 ? readers[t].First() : null;
    }

    private static Tensor Fold(Folding folding, Dictionary<Tensor, Tensor> map)
    {
        using var scope = Scope.Restore(folding.Layer.Scope);
        var (norm, layer) = ((BatchNormOp)folding.Norm.Op, folding.Layer);
        Tensor Parameter(int input) => F.Cast(map[folding.Norm.Inputs[input]], NormArguments.StatisticsOf(layer.Outputs[0].DType));
        var scale = F.Rsqrt(Parameter(norm.FirstRunning + 1) + norm.Eps);
        if (norm.Affine) scale *= Parameter(1);
        var weight = map[layer.Inputs[1]];
        var column = F.Reshape(scale, new Shape([scale.Shape[0], .. Enumerable.Repeat(1, weight.Rank - 1)]));
        var folded = F.Cast(F.Cast(weight, scale.DType) * column, weight.DType);
        var mean = Parameter(norm.FirstRunning);
        var bias = (layer.Inputs.Count > 2 ? F.Cast(map[layer.Inputs[2]], scale.DType) - mean : -mean) * scale;
        if (norm.Affine) bias += Parameter(2);
        var isPlain = folding.Sum is null;
        Op op = layer.Op is Conv2dOp conv ? conv with { Bias = isPlain } : ((LinearOp)layer.Op) with { Bias = isPlain };
        if (isPlain) return op.Apply(map[layer.Inputs[0]], folded, F.Cast(bias, weight.DType)).Outputs[0];
        var product = op.Apply(map[layer.Inputs[0]], folded).Outputs[0];
        // (x - (-b')) 1 + residual: the rest of a batch_norm, in one launch.
        return new BatchNormApplyOp(false, (Activation)folding.Last.Op, true, false, false)
            .Apply(product, -bias, F.Ones(bias.Shape, bias.DType), map[folding.Residual!]).Outputs[0];
    }

    /// <summary>One folding: the layer, its norm, and where a residual is activated behind it the sum and the activation, which comes last.</summary>
    private sealed record Folding(Node Layer, Node Norm, Node? Sum, Tensor? Residual, Node Last);
}
