using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Joins convolutions with a bias, then a residual, then relu behind them, as far as nobody else reads the values between: cuDNN runs
/// them in one launch, and nothing between them is stored or rounded. A device's own rewrite of a lowered program.
/// </summary>
internal static class ConvolutionEpilogues
{
    public static TensorProgram Apply(TensorProgram program)
    {
        var readers = program.Nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);
        var roots = program.Roots.ToHashSet();
        var chains = new Dictionary<Node, Chain>();
        var inside = new HashSet<Node>();
        foreach (var node in program.Nodes.Where(n => n.Op is ConvolutionOp or ConvolutionNhwcOp or Conv2dOp && n.Outputs[0].DType is DType.F32 or DType.BF16))
        {
            var chain = new Chain(node);
            while (!roots.Contains(chain.Last.Outputs[0]) && readers[chain.Last.Outputs[0]].Count() == 1 && chain.TryAppend(readers[chain.Last.Outputs[0]].First()))
            {
            }

            if (chain.Bias is null) continue;
            chains.Add(chain.Last, chain);
            inside.UnionWith(chain.Nodes.SkipLast(1));
        }

        return chains.Count == 0 ? program : program.Map(Rebuild(program, chains, inside));
    }

    private static Dictionary<Tensor, Tensor> Rebuild(TensorProgram program, Dictionary<Node, Chain> chains, HashSet<Node> inside)
    {
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in program.Nodes.Where(n => !inside.Contains(n)))
        {
            if (chains.TryGetValue(node, out var chain))
            {
                // It belongs to the layer of the convolution; ledgers group by it.
                using var layer = Scope.Restore(chain.Nodes[0].Scope);
                map[node.Outputs[0]] = chain.Build(map);
                continue;
            }

            using var scope = Scope.Restore(node.Scope);
            // Every node is renewed, so that those that stay keep their places in the order of execution.
            var outputs = node.Op is Leaf ? node.Outputs : node.Op.Apply([.. node.Inputs.Select(t => map[t])]).Outputs;
            for (var i = 0; i < outputs.Count; i++) map[node.Outputs[i]] = outputs[i];
        }

        return map;
    }

    /// <summary>A convolution and what was found behind it.</summary>
    private sealed class Chain
    {
        private Tensor? _residual;
        private bool _relu;

        public Chain(Node convolution)
        {
            Nodes.Add(convolution);
            if (convolution.Op is Conv2dOp { Bias: true }) Bias = convolution.Inputs[2];
        }

        public List<Node> Nodes { get; } = [];

        public Node Last => Nodes[^1];

        public Tensor? Bias { get; private set; }

        private bool ChannelsLast => Nodes[0].Op is ConvolutionNhwcOp;

        private int Axis => ChannelsLast ? 3 : 1;

        /// <summary>Takes the only reader of the chain's value in, if it fits behind what is there.</summary>
        public bool TryAppend(Node next)
        {
            var value = Last.Outputs[0];
            if (_relu) return false;
            switch (next.Op)
            {
                case BiasActOp { Dropout: null, Counts: false, Bias: true, Activation: null or Relu } op
                    when Bias is null && next.Inputs[0] == value && op.Dim == Axis && (!op.Residual || op.Activation is null):
                    Bias = next.Inputs[1];
                    if (op.Residual) _residual = next.Inputs[2];
                    _relu = op.Activation is Relu;
                    break;
                case BinaryOp { Kind: BinaryKind.Add } when Bias is null && BiasBeside(next, value) is { } bias:
                    Bias = bias;
                    break;
                case BinaryOp { Kind: BinaryKind.Add } when Bias is not null && _residual is null && next.Inputs[0] != next.Inputs[1]
                    && next.Inputs.All(t => t.Type == value.Type):
                    _residual = next.Inputs[0] == value ? next.Inputs[1] : next.Inputs[0];
                    break;
                case Relu when Bias is not null:
                    _relu = true;
                    break;
                default:
                    return false;
            }

            Nodes.Add(next);
            return true;
        }

        public Tensor Build(Dictionary<Tensor, Tensor> map)
        {
            var convolution = Nodes[0];
            var geometry = convolution.Op switch
            {
                ConvolutionNhwcOp last => last.Geometry,
                Conv2dOp layer => layer.Geometry,
                _ => ((ConvolutionOp)convolution.Op).Geometry,
            };
            List<Tensor> inputs = [map[convolution.Inputs[0]], map[convolution.Inputs[1]], map[Bias!]];
            if (_residual is not null) inputs.Add(map[_residual]);
            return new ConvolutionEpilogueOp(geometry, ChannelsLast, _residual is not null, _relu).Apply([.. inputs]).Outputs[0];
        }

        /// <summary>The vector of filters that is added to the value as a reshape of it, maybe broadcast.</summary>
        private Tensor? BiasBeside(Node sum, Tensor value)
        {
            var other = sum.Inputs[0] == value ? sum.Inputs[1] : sum.Inputs[0];
            if (other.Node.Op is BroadcastToOp) other = other.Node.Inputs[0];
            if (other.Node.Op is not ReshapeOp || other.Type.Elements != value.Shape[Axis] || other.Rank != 4 || other.Shape[Axis] != value.Shape[Axis]) return null;
            var vector = other.Node.Inputs[0];
            return vector.Rank == 1 && vector.DType == value.DType ? vector : null;
        }
    }
}
