using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites the graph of a training step, after autodiff: activations that are cheap to make again (norms applied with saved statistics,
/// activation functions, dropout, pooling, casts) are not kept from the forward to the backward pass. Products of matrices and convolutions
/// are never made again, so what they return is what is saved.
/// </summary>
/// <remarks>
/// The rule. A value is dropped when it saves at least <see cref="LeastSaved"/> bytes per byte that making it again reads and writes. A value
/// of which another dropped one is made hangs on it; such chains (the sums of residual blocks, each made of the one before) are all alive
/// while their first end is read, so their length is limited, by that number of links whose plan has the lowest peak. Values near the loss
/// are read again at once, so as many layers before it keep theirs as the peak allows.
/// Values, and with them losses and gradients, keep their bits where a device runs the copy by the same arithmetic as the first time: on the
/// CPU, and in f32 and bf16 by the CUDA kernels of batch_norm.
/// </remarks>
public static class RecomputeActivations
{
    /// <summary>Bytes saved per byte moved below which a value is kept.</summary>
    public const double LeastSaved = 1.0 / 6;

    /// <summary>How much higher than the lowest the peak may be for the sake of values near the loss.</summary>
    private const double Slack = 1.005;

    /// <summary>Lengths of chains that are tried.</summary>
    private static readonly int[] Lengths = [1, 2, 3, 4, 6, 8, 16, int.MaxValue];

    /// <param name="program">A training step.</param>
    /// <param name="forward">The nodes of its forward part.</param>
    public static Rematerialization Apply(TensorProgram program, IReadOnlySet<Node> forward)
    {
        var saved = new SavedValues(program, forward);
        Rematerialization? best = null;
        HashSet<Tensor>? before = null;
        var links = 0;
        foreach (var length in Lengths)
        {
            var dropped = new Choice(saved, length, saved.Forward.Count).Dropped;
            if (before?.SetEquals(dropped) == true) continue;
            before = dropped;
            var plan = Rematerialization.Apply(program, forward, dropped);
            if (best is null || plan.PeakBytes < best.PeakBytes) (best, links) = (plan, length);
        }

        var allowed = (long)(best!.PeakBytes * Slack);
        var (few, enough) = (0, saved.Forward.Count);
        while (enough - few > Math.Max(1, saved.Forward.Count / 64))
        {
            var middle = (few + enough) / 2;
            var plan = Rematerialization.Apply(program, forward, new Choice(saved, links, middle).Dropped);
            if (plan.PeakBytes > allowed) few = middle;
            else (enough, best) = (middle, plan);
        }

        return best;
    }

    /// <summary>Whether making a value again streams its inputs once: no product of matrices, no convolution.</summary>
    internal static bool IsCheap(Op op) => Rematerialization.CanRepeat(op) && op is not (
        MatMulOp or LinearOp or Conv2dOp or ConvolutionOp or ConvolutionInputOp or ConvolutionWeightOp or ConvolutionNhwcOp or ConvolutionInputNhwcOp
        or ConvolutionWeightNhwcOp or LinearParametersBackwardOp);

    /// <summary>What is dropped of the first so many nodes when chains have so many links at most.</summary>
    private sealed class Choice
    {
        private readonly SavedValues _saved;
        private readonly int _length;
        private readonly Dictionary<Tensor, int> _links = [];

        public Choice(SavedValues saved, int length, int nodes)
        {
            (_saved, _length) = (saved, length);
            foreach (var node in saved.Forward.Take(nodes)) Consider(node);
        }

        public HashSet<Tensor> Dropped => [.. _links.Keys];

        private void Consider(Node node)
        {
            if (!SavedValues.IsStored(node.Outputs[0]) && node.Inputs.Count > 0)
            {
                // A view goes with what it shows.
                if (_links.TryGetValue(node.Inputs[0], out var shown)) _links[node.Outputs[0]] = shown;
                return;
            }

            var outputs = Droppable(node);
            var gain = outputs.Where(_saved.IsRead).Sum(t => t.Type.Bytes);
            if (gain < Math.Max(1, _saved.Small)) return;
            if (Attempt(node) is not { } attempt || attempt.Links > _length) return;
            if (gain - attempt.Kept < LeastSaved * attempt.Moved) return;
            foreach (var (inner, links) in attempt.Inner)
            {
                foreach (var output in Droppable(inner)) _links[output] = links;
            }

            foreach (var output in outputs) _links[output] = attempt.Links;
        }

        /// <summary>What need not be kept of a node: nothing that is a result, and no statistics of a batch_norm.</summary>
        private List<Tensor> Droppable(Node node) => !IsCheap(node.Op) || !_saved.DependsOnInput(node.Outputs[0])
            ? []
            : [.. node.Outputs.Where(t => !_saved.Lasts(t) && !(node.Op is BatchNormOp { Training: true } && t.Index is 1 or 2))];

        /// <summary>What it takes to make a node's outputs again.</summary>
        private (int Links, long Moved, long Kept, List<(Node Node, int Links)> Inner)? Attempt(Node node)
        {
            var (links, kept) = (1, 0L);
            var moved = node.Inputs.Sum(t => t.Type.Bytes) + Droppable(node).Sum(t => t.Type.Bytes);
            var inner = new List<(Node, int)>();
            foreach (var input in node.Inputs)
            {
                var source = StorageAssignment.ViewRoot(input);
                if (source.Node.Op is Leaf || !_saved.DependsOnInput(source)) continue;
                if (_links.TryGetValue(source, out var chain))
                {
                    links = Math.Max(links, chain + 1);
                }
                else if (!_saved.IsRead(source) && !_saved.Lasts(source))
                {
                    // Nobody keeps it: it is made again as well where its own inputs are kept, or kept instead.
                    var again = source == input && Droppable(source.Node).Contains(source) ? Directly(source.Node) : null;
                    if (again is { } bytes)
                    {
                        moved += bytes;
                        inner.Add((source.Node, 1));
                        links = Math.Max(links, 2);
                    }
                    else
                    {
                        kept += source.Type.Bytes;
                    }
                }
            }

            return (links, moved, kept, inner);
        }

        /// <summary>Bytes moved to make a node again whose inputs are all kept, else null.</summary>
        private long? Directly(Node node) =>
            node.Inputs.Select(StorageAssignment.ViewRoot).All(t => t.Node.Op is Leaf || !_saved.DependsOnInput(t) || ((_saved.IsRead(t) || _saved.Lasts(t)) && !_links.ContainsKey(t)))
                ? node.Inputs.Sum(t => t.Type.Bytes) + node.Outputs.Sum(t => t.Type.Bytes)
                : null;
    }
}
