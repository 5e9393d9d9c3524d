namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites a forward graph of evaluation: a batch_norm with running statistics behind a convolution or a linear layer becomes part of it,
/// w' = w s and b' = (b - mean) s + bias with s = weight / sqrt(var + eps) per output channel (Jacob et al. 2018, "Quantization and training
/// of neural networks", section 3.2). Only values that nobody else reads disappear. Results keep their values but for the roundings of w' and b',
/// a few units of the last place of the dtype that layers compute in.
/// </summary>
public static class FoldBatchNorms
{
    /// <summary>The map from every tensor that <paramref name="outputs"/> depend on to its replacement; what is folded away has none.</summary>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var nodes = Traversal.Ancestors(outputs);
        var readers = nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);
        var results = outputs.ToHashSet();
        var folded = nodes.Where(IsFoldable).ToDictionary(n => n.Inputs[0].Node);
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in nodes)
        {
            if (folded.ContainsKey(node)) continue;
            var fold = node.Inputs.Count > 0 ? folded.GetValueOrDefault(node.Inputs[0].Node) : null;
            using var scope = Scope.Restore(fold == node ? node.Inputs[0].Node.Scope : node.Scope);
            if (fold is not null && fold == node)
            {
                map[node.Outputs[0]] = Fold(node, map);
                continue;
            }

            var result = Traversal.Rebuild(node, [.. node.Inputs.Select(t => map[t])]);
            for (var i = 0; i < result.Count; i++) map[node.Outputs[i]] = result[i];
        }

        return map;

        bool IsFoldable(Node node) =>
            node.Op is BatchNormOp { Training: false, Activation: null, Residual: false, ChannelsLast: false }
            && node.Inputs[0].Node.Op is Conv2dOp or LinearOp { Activation: null, Residual: false } && node.Inputs[0].Rank is 2 or 4
            && !results.Contains(node.Inputs[0]) && readers[node.Inputs[0]].Count() == 1
            && !node.Outputs.Skip(1).Any(t => results.Contains(t) || readers[t].Any());
    }

    private static Tensor Fold(Node node, Dictionary<Tensor, Tensor> map)
    {
        var (norm, layer) = ((BatchNormOp)node.Op, node.Inputs[0].Node);
        Tensor[] given = [.. node.Inputs.Select((t, i) => i == 0 ? t : F.Cast(map[t], NormArguments.StatisticsOf(t.DType)))];
        var (mean, variance) = (given[norm.FirstRunning], given[norm.FirstRunning + 1]);
        var scale = F.Rsqrt(variance + norm.Eps);
        if (norm.Affine) scale *= given[1];
        var weight = map[layer.Inputs[1]];
        var dtype = weight.DType;
        var column = F.Reshape(scale, new Shape([scale.Shape[0], .. Enumerable.Repeat(1, weight.Rank - 1)]));
        var foldedWeight = F.Cast(F.Cast(weight, scale.DType) * column, dtype);
        var shift = layer.Inputs.Count > 2 ? F.Cast(map[layer.Inputs[2]], scale.DType) - mean : -mean;
        var bias = shift * scale;
        if (norm.Affine) bias += given[2];
        Op op = layer.Op is Conv2dOp conv ? conv with { Bias = true } : ((LinearOp)layer.Op) with { Bias = true };
        return op.Apply(map[layer.Inputs[0]], foldedWeight, F.Cast(bias, dtype)).Outputs[0];
    }
}
