using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites the graph of a training step, after autodiff: its forward part is cut into segments, and of all but the last only what crosses a
/// cut is kept. The backward pass of a segment first makes the segment's values again from its border, convolutions included (Chen et al.
/// 2016, "Training deep nets with sublinear memory cost", section 3): about one more forward pass of time for memory in the order of the root of
/// the depth. The statistics of batch norms, two vectors each, are kept as well.
/// </summary>
/// <remarks>
/// Cuts lie where a single activation crosses, between residual blocks rather than inside of them, so that segments save about equally many
/// bytes each. Values, losses and gradients keep their bits wherever a kernel gives the same bits twice.
/// </remarks>
public static class CheckpointSegments
{
    /// <summary>Asks for the number of segments with the lowest peak, among those around the root of the number of places to cut.</summary>
    public const int Auto = 0;

    /// <param name="program">A training step.</param>
    /// <param name="forward">The nodes of its forward part.</param>
    /// <param name="segments">How many segments, or <see cref="Auto"/>.</param>
    /// <exception cref="UserException">The model cannot be cut into so many.</exception>
    public static Rematerialization Apply(TensorProgram program, IReadOnlySet<Node> forward, int segments)
    {
        var saved = new SavedValues(program, forward);
        var graph = new Cuts(saved);
        if (segments != Auto)
        {
            if (segments < 2) throw new UserException($"--checkpoint must be at least 2 segments, or auto, but is {segments}.");
            if (segments > graph.Most)
                throw new UserException($"--checkpoint {segments} is more segments than this model can be cut into; give at most {graph.Most}, or auto.");
            return Rematerialization.Apply(program, forward, graph.Dropped(segments));
        }

        if (graph.Most < 2) throw new UserException("--checkpoint auto: this model has no place to be cut at; leave the option out.");
        var root = Math.Sqrt(graph.Most);
        return new[] { 0.5, 0.75, 1, 1.5, 2, 3 }.Select(f => Math.Clamp((int)Math.Round(f * root), 2, graph.Most)).Distinct()
            .Select(n => Rematerialization.Apply(program, forward, graph.Dropped(n))).MinBy(p => p.PeakBytes)!;
    }

    /// <summary>The places between forward nodes, and what crosses them.</summary>
    private sealed class Cuts
    {
        private readonly SavedValues _saved;
        private readonly IReadOnlyList<Node> _nodes;

        /// <summary>For every stored activation the last forward node that reads it.</summary>
        private readonly Dictionary<Tensor, int> _lastRead = [];

        /// <summary>Places, by the node before them, where one activation of some size crosses, and the bytes saved up to there.</summary>
        private readonly List<(int Node, long Saved)> _places = [];

        public Cuts(SavedValues saved)
        {
            (_saved, _nodes) = (saved, saved.Forward);
            for (var i = 0; i < _nodes.Count; i++)
            {
                foreach (var input in _nodes[i].Inputs) _lastRead[StorageAssignment.ViewRoot(input)] = i;
            }

            var ends = new int[_nodes.Count + 1];
            var (crossing, bytes, known) = (0, 0L, 0L);
            for (var i = 0; i < _nodes.Count; i++)
            {
                foreach (var output in _nodes[i].Outputs.Where(t => IsActivation(t) && t.Type.Bytes >= Math.Max(1, saved.Small)))
                {
                    if (_lastRead.GetValueOrDefault(output, -1) > i)
                    {
                        crossing++;
                        ends[_lastRead[output]]++;
                    }
                }

                crossing -= ends[i];
                bytes += _nodes[i].Outputs.Where(t => IsActivation(t) && saved.IsRead(t)).Sum(t => t.Type.Bytes);
                // Behind a place more must be saved than before it, else nothing lies between the two.
                if (crossing != 1 || bytes <= known) continue;
                _places.Add((i, bytes));
                known = bytes;
            }

            // A segment behind the last place must save something, too.
            while (_places.Count > 0 && _places[^1].Saved >= bytes) _places.RemoveAt(_places.Count - 1);
            Total = bytes;
        }

        /// <summary>Most segments.</summary>
        public int Most => _places.Count + 1;

        private long Total { get; }

        /// <summary>What is made again when there are so many segments.</summary>
        public HashSet<Tensor> Dropped(int segments)
        {
            var cuts = Choose(segments);
            var dropped = new HashSet<Tensor>();
            for (var (i, segment) = (0, 0); i < _nodes.Count && segment < cuts.Count; i++)
            {
                var node = _nodes[i];
                var isView = node.Outputs.Count == 1 && !SavedValues.IsStored(node.Outputs[0]) && node.Inputs.Count > 0;
                foreach (var output in node.Outputs)
                {
                    if (isView ? dropped.Contains(node.Inputs[0]) : IsActivation(output) && !IsKept(output, cuts[segment])) dropped.Add(output);
                }

                if (i == cuts[segment]) segment++;
            }

            return dropped;
        }

        /// <summary>Places that divide what is saved as evenly as they lie.</summary>
        private List<int> Choose(int segments)
        {
            var chosen = new List<int>();
            var next = 0;
            for (var cut = 1; cut < segments; cut++)
            {
                var target = (double)Total * cut / segments;
                // As many places as there are cuts to come must be left.
                var last = _places.Count - (segments - 1 - cut) - 1;
                while (next < last && Math.Abs(_places[next + 1].Saved - target) <= Math.Abs(_places[next].Saved - target)) next++;
                chosen.Add(_places[next++].Node);
            }

            return chosen;
        }

        /// <summary>Results, statistics, and what crosses the next cut.</summary>
        private bool IsKept(Tensor tensor, int cut) =>
            _saved.Lasts(tensor) || !Rematerialization.CanRepeat(tensor.Node.Op) || _lastRead.GetValueOrDefault(tensor, -1) > cut
            || (tensor.Node.Op is BatchNormOp { Training: true } && tensor.Index is 1 or 2);

        private bool IsActivation(Tensor tensor) => SavedValues.IsStored(tensor) && _saved.DependsOnInput(tensor);
    }
}
