namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites the graph of a training step, after autodiff: a cross entropy whose gradient starts from 1 becomes one op with that gradient
/// (<see cref="CrossEntropyWithGradientOp"/>), so that the logits are read once. A count of right answers made from the same logits
/// becomes its third output, and a widening of bf16 logits before the loss, narrowed again after its gradient, disappears into it.
/// Loss and gradient keep their values but for the order of a few roundings; a line with a NaN no longer counts as right.
/// </summary>
public static class FuseCrossEntropy
{
    /// <summary>
    /// The map from every tensor that <paramref name="outputs"/> depend on to its replacement. What lies inside a fusion has no entry of its
    /// own: nothing reads it. Where nothing is fused, every tensor stays as it is.
    /// </summary>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var nodes = Traversal.Ancestors(outputs);
        var fusions = new Finder(nodes, outputs).Find();
        var inside = fusions.SelectMany(f => f.Inside).ToHashSet();
        var byForward = fusions.ToDictionary(f => f.Forward);
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in nodes)
        {
            using var scope = Scope.Restore(node.Scope);
            if (byForward.TryGetValue(node, out var fusion)) Replace(fusion, map);
            if (inside.Contains(node)) continue;
            // Every node is renewed, so that what did not change keeps its place in the order of execution.
            var result = fusions.Count == 0 || node.Op is Leaf ? node.Outputs : node.Op.Apply([.. node.Inputs.Select(t => map[t])]).Outputs;
            for (var i = 0; i < result.Count; i++) map[node.Outputs[i]] = result[i];
        }

        return map;
    }

    private static void Replace(Fusion fusion, Dictionary<Tensor, Tensor> map)
    {
        var op = (CrossEntropyOp)fusion.Forward.Op;
        var fused = new CrossEntropyWithGradientOp(op.Reduction, op.IgnoreIndex, op.LabelSmoothing, op.Weighted)
            .Apply([map[fusion.Logits], .. fusion.Forward.Inputs.Skip(1).Select(t => map[t])]).Outputs;
        map[fusion.Forward.Outputs[0]] = fused[0];
        foreach (var gradient in fusion.Gradients) map[gradient] = fused[1];
        if (fusion.Correct is { } correct) map[correct] = fused[2];
    }

    /// <summary>One fusion.</summary>
    /// <param name="Forward">The loss.</param>
    /// <param name="Logits">What the fused op reads: the loss's logits, or the bf16 tensor that they were widened from.</param>
    /// <param name="Gradients">What the fused op's gradient replaces.</param>
    /// <param name="Correct">The count of right answers, if there is one.</param>
    /// <param name="Inside">The nodes that disappear.</param>
    private sealed record Fusion(Node Forward, Tensor Logits, IReadOnlyList<Tensor> Gradients, Tensor? Correct, IReadOnlyList<Node> Inside);

    private sealed class Finder(IReadOnlyList<Node> nodes, IReadOnlyList<Tensor> outputs)
    {
        private readonly ILookup<Tensor, Node> _readers =
            nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);

        private readonly HashSet<Tensor> _results = [.. outputs];

        public List<Fusion> Find() => [.. nodes.Select(Of).OfType<Fusion>()];

        private Fusion? Of(Node forward)
        {
            if (forward.Op is not CrossEntropyOp { Probabilities: false } op || op.Reduction == Reduction.None) return null;
            var internals = forward.Outputs.Skip(1).ToArray();
            var backward = _readers[internals[0]].FirstOrDefault();
            if (backward?.Op is not CrossEntropyBackwardOp back || back.Of != op || backward.Inputs[0].Node.Op is not ConstantOp { Value: 1 }) return null;
            if (!backward.Inputs.Skip(1).SequenceEqual(forward.Inputs.Concat(internals))) return null;
            if (internals.Any(t => _results.Contains(t) || _readers[t].Any(r => r != backward))) return null;

            var inside = new List<Node> { forward, backward };
            var (logits, gradient) = (forward.Inputs[0], backward.Outputs[0]);
            IReadOnlyList<Tensor> gradients = [gradient];
            if (!op.Weighted && logits.Node.Op is CastOp && logits.Node.Inputs[0].DType == DType.BF16 && !_results.Contains(gradient) &&
                _readers[gradient].All(r => r.Op is CastOp && r.Outputs[0].DType == DType.BF16))
            {
                logits = logits.Node.Inputs[0];
                inside.AddRange(_readers[gradient]);
                gradients = [.. _readers[gradient].Select(r => r.Outputs[0])];
            }

            var counting = Counting(forward, op);
            inside.AddRange(counting);
            return new Fusion(forward, logits, gradients, counting.Count > 0 ? counting[^1].Outputs[0] : null, inside);
        }

        /// <summary>The nodes of sum(argmax(logits) == target), or none; the target to ignore must be one that no line's maximum can be.</summary>
        private List<Node> Counting(Node forward, CrossEntropyOp op)
        {
            var (logits, target) = (forward.Inputs[0], forward.Inputs[1]);
            if (op.IgnoreIndex >= 0 || logits.Rank != 2) return [];
            var starts = _readers[logits].SelectMany(r => r.Op is DetachOp ? _readers[r.Outputs[0]].Prepend(r) : [r]);
            foreach (var start in starts.Where(n => n.Op is ArgMaxOp).Distinct())
            {
                List<Node> chain = [start];
                if (!Follow(chain, n => n.Op is CompareOp { Kind: CompareKind.Eq } && n.Inputs.Contains(target))) continue;
                if (!Follow(chain, n => n.Op is CastOp { To: DType.I64 })) continue;
                if (!Follow(chain, n => n.Op is ReduceOp { Kind: ReduceKind.Sum })) continue;
                if (!Follow(chain, n => n.Outputs[0].Rank == 0)) continue;
                // The fused op stands where the loss stood, so nobody may have read the count before that.
                if (_readers[chain[^1].Outputs[0]].All(r => r.Id > forward.Id)) return chain;
            }

            return [];
        }

        /// <summary>Adds the only reader of the chain's end, if it is as wanted.</summary>
        private bool Follow(List<Node> chain, Func<Node, bool> wanted)
        {
            var value = chain[^1].Outputs[0];
            if (_results.Contains(value) || _readers[value].Count() != 1 || !wanted(_readers[value].First())) return false;
            chain.Add(_readers[value].First());
            return true;
        }
    }
}
