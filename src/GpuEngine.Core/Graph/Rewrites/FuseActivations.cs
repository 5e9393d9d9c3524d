namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites a forward graph, before autodiff, so that activation(norm(x)) and activation(batch_norm(x) + residual) become one
/// op each: the value between them is then neither stored nor read again, and the backward pass recomputes it. Only values
/// that nobody else reads disappear. Results stay the same but for the order of a few roundings.
/// </summary>
public static class FuseActivations
{
    /// <summary>
    /// The map from every tensor that <paramref name="outputs"/> depend on to its replacement. Leaves and everything else that
    /// lies above the first fusion keep their identity. A value inside a fusion has no entry of its own: nothing reads it.
    /// </summary>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var nodes = Traversal.Ancestors(outputs);
        var fusions = Find(nodes, outputs);
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in nodes)
        {
            if (fusions.TryGetValue(node, out var fusion))
            {
                if (node == fusion.Last) Replace(fusion, map);
                continue;
            }

            using var scope = Scope.Restore(node.Scope);
            var result = Traversal.Rebuild(node, [.. node.Inputs.Select(t => map[t])]);
            for (var i = 0; i < result.Count; i++) map[node.Outputs[i]] = result[i];
        }

        return map;
    }

    private static void Replace(Fusion fusion, Dictionary<Tensor, Tensor> map)
    {
        // The fused op belongs to the norm's layer; ledgers group by it.
        using var scope = Scope.Restore(fusion.Norm.Scope);
        Tensor[] residual = fusion.Residual is null ? [] : [map[fusion.Residual]];
        var fused = fusion.Op.Apply([.. fusion.Norm.Inputs.Select(t => map[t]), .. residual]).Outputs;
        // A fused op may have a mask behind the outputs of the norm; only its own gradient reads it.
        for (var i = 1; i < fusion.Norm.Outputs.Count; i++) map[fusion.Norm.Outputs[i]] = fused[i];
        map[fusion.Last.Outputs[0]] = fused[0];
    }

    /// <summary>The fusions by each of their nodes.</summary>
    private static Dictionary<Node, Fusion> Find(IReadOnlyList<Node> nodes, IReadOnlyList<Tensor> outputs)
    {
        var readers = nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);
        var results = outputs.ToHashSet();
        var found = new Dictionary<Node, Fusion>();
        foreach (var node in nodes)
        {
            if (node.Op is not Activation activation || OnlyReader(node.Inputs[0]) is null) continue;
            var below = node.Inputs[0].Node;
            if (WithActivation(below.Op, activation) is { } op)
            {
                TryAdd(new Fusion(op, below, null, null, node), node.Inputs[0]);
                continue;
            }

            if (below.Op is not BinaryOp { Kind: BinaryKind.Add }) continue;
            for (var i = 0; i < 2 && !found.ContainsKey(node); i++)
            {
                var (term, other) = (below.Inputs[i], below.Inputs[1 - i]);
                if (term.Type == other.Type && OnlyReader(term) is not null && WithResidual(term.Node.Op, activation) is { } sum)
                    TryAdd(new Fusion(sum, term.Node, below, other, node), term);
            }
        }

        return found;

        Node? OnlyReader(Tensor t) => !results.Contains(t) && readers[t].Count() == 1 ? readers[t].First() : null;

        void TryAdd(Fusion fusion, Tensor normalised)
        {
            // The fused op stands where the activation stood, so nobody may have read the norm's statistics before that.
            var statistics = fusion.Norm.Outputs.Skip(1);
            if (normalised.Index != 0 || statistics.Any(t => readers[t].Any(r => r.Id < fusion.Last.Id))) return;
            found[fusion.Norm] = fusion;
            if (fusion.Sum is not null) found[fusion.Sum] = fusion;
            found[fusion.Last] = fusion;
        }
    }

    private static Op? WithActivation(Op op, Activation activation) => op switch
    {
        BatchNormOp { Activation: null } norm => norm with { Activation = activation },
        RowNormOp { Activation: null } norm => norm with { Activation = activation },
        _ => null,
    };

    private static BatchNormOp? WithResidual(Op op, Activation activation) =>
        op is BatchNormOp { Activation: null, Residual: false } norm ? norm with { Activation = activation, Residual = true } : null;

    /// <summary>One fusion: the norm, the sum with a residual if there is one, and the activation, which comes last.</summary>
    private sealed record Fusion(Op Op, Node Norm, Node? Sum, Tensor? Residual, Node Last);
}
