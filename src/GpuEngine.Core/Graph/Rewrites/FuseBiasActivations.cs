namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites a forward graph, before autodiff, so that what follows a linear layer runs with it or in one launch behind it:
/// <list type="bullet">
/// <item>relu(linear(x)), linear(x) + residual and relu(linear(x) + residual) become one linear op, whose epilogue does the rest;</item>
/// <item>any other chain of activation, dropout and sum with a residual behind a linear layer becomes one <see cref="BiasActOp"/>, which
/// takes the bias over as well: its backward launch then makes the bias's gradient beside its own;</item>
/// <item>the same behind a convolution with a bias, and behind a sum with a bias that broadcasts along one axis;</item>
/// <item>a chain of two or three of them behind anything else becomes one <see cref="BiasActOp"/>.</item>
/// </list>
/// Only values that nobody else reads disappear. Results stay the same but for the order of a few roundings.
/// </summary>
public static class FuseBiasActivations
{
    /// <summary>
    /// The map from every tensor that <paramref name="outputs"/> depend on to its replacement. Leaves and everything else that
    /// lies above the first fusion keep their identity. A value inside a fusion has no entry of its own: nothing reads it.
    /// </summary>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var nodes = Traversal.Ancestors(outputs);
        var chains = Find(nodes, outputs);
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in nodes)
        {
            if (chains.TryGetValue(node, out var chain))
            {
                if (node == chain.Last) map[node.Outputs[0]] = chain.Build(map);
                continue;
            }

            using var scope = Scope.Restore(node.Scope);
            var result = Traversal.Rebuild(node, [.. node.Inputs.Select(t => map[t])]);
            for (var i = 0; i < result.Count; i++) map[node.Outputs[i]] = result[i];
        }

        return map;
    }

    /// <summary>The chains worth fusing by each of their nodes.</summary>
    private static Dictionary<Node, Chain> Find(IReadOnlyList<Node> nodes, IReadOnlyList<Tensor> outputs)
    {
        var readers = nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);
        var results = outputs.ToHashSet();
        var found = new Dictionary<Node, Chain>();
        foreach (var node in nodes.Where(n => !found.ContainsKey(n)))
        {
            if (Chain.Start(node) is not { } chain) continue;
            while (OnlyReader(chain.Last.Outputs[0]) is { } next && !found.ContainsKey(next) && chain.TryAppend(next))
            {
            }

            if (!chain.IsWorthIt) continue;
            foreach (var member in chain.Nodes) found.Add(member, chain);
        }

        return found;

        Node? OnlyReader(Tensor t) => !results.Contains(t) && readers[t].Count() == 1 ? readers[t].First() : null;
    }

    /// <summary>What one fusion replaces, in order; a layer, a sum with a bias or nothing in front of it.</summary>
    private sealed class Chain
    {
        private readonly Node? _linear;
        private readonly Node? _convolution;
        private readonly Tensor _input;
        private readonly Tensor? _bias;
        private readonly int _dim = -1;
        private Activation? _activation;
        private DropoutOp? _dropout;
        private Tensor? _generator;
        private Tensor? _residual;

        /// <summary>The sum came before the activation: only the epilogue of a product does that.</summary>
        private bool _residualFirst;

        private Chain(Tensor input) => _input = input;

        private Chain(Node first)
        {
            Nodes.Add(first);
            _input = first.Outputs[0];
            if (first.Op is LinearOp) _linear = first;
            else if (first.Op is Conv2dOp) (_convolution, _bias, _dim) = (first, first.Inputs[2], 1);
            else if (BiasOf(first) is { } sum) (_input, _bias, _dim) = sum;
        }

        public List<Node> Nodes { get; } = [];

        public Node Last => Nodes[^1];

        /// <summary>Whether fewer launches or bytes come of it.</summary>
        public bool IsWorthIt => Nodes.Count > (_linear is null || IsEpilogue || HasBias ? 1 : 2);

        private bool HasBias => ((LinearOp)_linear!.Op).Bias;

        /// <summary>Whether the product's epilogue does everything.</summary>
        private bool IsEpilogue => _linear is not null && _dropout is null && _activation is null or Relu && (_activation is null || _residual is null || _residualFirst);

        /// <summary>A chain that starts with this node, or null.</summary>
        public static Chain? Start(Node node)
        {
            if (node.Op is LinearOp { Activation: null, Residual: false } or Conv2dOp { Bias: true } || BiasOf(node) is not null) return new Chain(node);
            if (node.Op is not (Activation or DropoutOp)) return null;
            var start = new Chain(node.Inputs[0]);
            return start.TryAppend(node) ? start : null;
        }

        /// <summary>The parts of a sum with a vector that broadcasts along one axis, and that axis.</summary>
        private static (Tensor Input, Tensor? Bias, int Dim)? BiasOf(Node node)
        {
            if (node.Op is not BinaryOp { Kind: BinaryKind.Add }) return null;
            var type = node.Outputs[0].Type;
            for (var i = 0; i < 2; i++)
            {
                var (x, other) = (node.Inputs[i], node.Inputs[1 - i]);
                if (x.Type != type || other.Type == type || other.DType != type.DType) continue;
                var vector = other.Node.Op is ReshapeOp ? other.Node.Inputs[0] : other;
                // Counted from the end, as broadcasting does; one axis of more than one element.
                var axes = Enumerable.Range(0, other.Rank).Where(axis => other.Shape[axis] != 1).ToArray();
                if (vector.Rank != 1 || axes.Length != 1) continue;
                return (x, vector, axes[0] + x.Rank - other.Rank);
            }

            return null;
        }

        /// <summary>Takes the only reader of the chain's value in, if it fits behind what is there.</summary>
        public bool TryAppend(Node next)
        {
            var value = Nodes.Count == 0 ? _input : Last.Outputs[0];
            switch (next.Op)
            {
                case Identity:
                    return false;
                case Activation activation when _activation is null && _dropout is null && (_residual is null || (_residualFirst && activation is Relu)):
                    _activation = activation;
                    break;
                case DropoutOp dropout when _dropout is null && _residual is null:
                    (_dropout, _generator) = (dropout, next.Inputs[1]);
                    break;
                case BinaryOp { Kind: BinaryKind.Add } when _residual is null:
                    var other = next.Inputs[0] == value ? next.Inputs[1] : next.Inputs[0];
                    if (other == value || other.Type != value.Type) return false;
                    _residual = other;
                    _residualFirst = _linear is not null && _activation is null && _dropout is null;
                    break;
                default:
                    return false;
            }

            Nodes.Add(next);
            return true;
        }

        public Tensor Build(Dictionary<Tensor, Tensor> map)
        {
            // The fused op belongs to the layer of its first part; ledgers group by it.
            using var scope = Scope.Restore(Nodes[0].Scope);
            var residual = _residual is null ? null : map[_residual];
            if (_linear is not null)
            {
                Tensor[] operands = [.. _linear.Inputs.Select(t => map[t])];
                if (IsEpilogue)
                    return new LinearOp(HasBias, _activation, residual is not null).Apply(residual is null ? operands : [.. operands, residual]).Outputs[0];
                return Apply(F.Linear(operands[0], operands[1]), HasBias ? operands[2] : null);
            }

            var x = _convolution is null
                ? map[_input]
                : (((Conv2dOp)_convolution.Op) with { Bias = false }).Apply(map[_convolution.Inputs[0]], map[_convolution.Inputs[1]]).Outputs[0];
            return Apply(x, _bias is null ? null : map[_bias]);

            Tensor Apply(Tensor product, Tensor? bias) => F.BiasAct(
                product, bias, _activation, _dropout, _generator is null ? null : map[_generator], residual, _dim).Output;
        }
    }
}
