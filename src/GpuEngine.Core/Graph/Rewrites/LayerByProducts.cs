namespace GpuEngine.Core.Graph;

/// <summary>What a step can tell beside its results, from the launches that it makes anyway.</summary>
[Flags]
public enum ByProducts
{
    None = 0,

    /// <summary>The mean and variance that each norm normalised with.</summary>
    Statistics = 1,

    /// <summary>How many units of each activation were positive for no example.</summary>
    DeadUnits = 2,

    /// <summary>Whether each layer's values are all finite.</summary>
    Finite = 4,

    /// <summary>The norm of each parameter's gradient.</summary>
    GradientNorms = 8,

    All = Statistics | DeadUnits | Finite | GradientNorms,
}

/// <summary>What the launches of one layer leave beside its result. Each is null where the layer's kernel does not have it, or it was not asked for.</summary>
/// <param name="Layer">The layer's name in the model.</param>
/// <param name="Units">Units of the layer: channels, or columns.</param>
/// <param name="Eps">What invstd has beside the variance.</param>
/// <param name="Mean">Mean of each channel (batch_norm) or each row (the norms of one sample).</param>
/// <param name="InvStd">1 / sqrt(variance + eps) of the same.</param>
/// <param name="Positive">How many values of each unit the activation left above 0, i64.</param>
/// <param name="Nonfinite">How many values of each unit are infinite or not a number, i64.</param>
public sealed record LayerByProducts(string Layer, int Units, double Eps, Tensor? Mean, Tensor? InvStd, Tensor? Positive, Tensor? Nonfinite)
{
    /// <summary>
    /// Rewrites a forward graph, before autodiff and behind <see cref="Fusions"/>, so that its layers leave what is asked for. Norms have
    /// their statistics anyway, and a value that is not finite shows in them; batch_norm and bias_act count in the launch that writes y.
    /// Only behind a linear layer whose epilogue is the activation, and behind a norm of single samples, does counting take the
    /// activation's own launch back, which moves the activation once more.
    /// </summary>
    /// <param name="outputs">What the graph is for.</param>
    /// <param name="asked">What layers are to leave; <see cref="ByProducts.GradientNorms"/> is none of it.</param>
    /// <returns>The map from each of <paramref name="outputs"/> to its replacement, and the layers in the order in which they run.</returns>
    public static (IReadOnlyDictionary<Tensor, Tensor> Map, IReadOnlyList<LayerByProducts> Layers) Ask(IReadOnlyList<Tensor> outputs, ByProducts asked)
    {
        if ((asked & ~ByProducts.GradientNorms) == 0) return (outputs.Distinct().ToDictionary(t => t), []);
        var pass = new Pass(asked);
        foreach (var node in Traversal.Ancestors(outputs))
        {
            using var scope = Scope.Restore(node.Scope);
            pass.Visit(node);
        }

        return (pass.Map, pass.Layers);
    }

    private sealed class Pass(ByProducts asked)
    {
        private readonly HashSet<string> _names = [];

        public Dictionary<Tensor, Tensor> Map { get; } = [];

        public List<LayerByProducts> Layers { get; } = [];

        private bool Finite => asked.HasFlag(ByProducts.Finite);

        private bool Counts => asked.HasFlag(ByProducts.DeadUnits);

        private bool Statistics => asked.HasFlag(ByProducts.Statistics) || Finite;

        public void Visit(Node node)
        {
            Tensor[] inputs = [.. node.Inputs.Select(t => Map[t])];
            var results = node.Op switch
            {
                BatchNormOp { Training: true } norm => Normalise(norm, inputs),
                RowNormOp norm => Normalise(norm, inputs),
                BiasActOp { Counts: false } op when Finite || (Counts && op.Activation is not null) => Count(op, inputs),
                LinearOp { Activation: not null } op when Counts => Count(op.Activation, (op with { Activation = null }).Apply(inputs).Outputs[0], node.Outputs[0].Rank - 1),
                Activation op and not Identity when Counts && inputs[0].Rank > 1 => Count(op, inputs[0], ChannelAxis(inputs[0])),
                _ => Traversal.Rebuild(node, inputs),
            };
            for (var i = 0; i < node.Outputs.Count; i++) Map[node.Outputs[i]] = results[i];
        }

        private IReadOnlyList<Tensor> Normalise(BatchNormOp norm, Tensor[] inputs)
        {
            var counted = norm with { Counts = Counts && norm.Activation is not null && inputs[0].Type.Elements > 0 };
            var results = counted.Apply(inputs).Outputs;
            var units = results[1].Shape[0];
            Add(norm, units, norm.Eps, Statistics ? results[1] : null, Statistics ? results[2] : null, counted.Counts ? results[^1] : null);
            return results;
        }

        private IReadOnlyList<Tensor> Normalise(RowNormOp norm, Tensor[] inputs)
        {
            var counts = Counts && norm.Activation is not null && inputs[0].Rank > 1;
            IReadOnlyList<Tensor> results = (counts ? norm with { Activation = null } : norm).Apply(inputs).Outputs;
            var x = inputs[0].Shape;
            var axis = norm is GroupNormOp { ChannelsLast: false } or InstanceNormOp { ChannelsLast: false } ? 1 : x.Rank - 1;
            Tensor? positive = null;
            if (counts)
            {
                var y = F.BiasAct(results[0], null, norm.Activation, dim: axis, counts: true);
                positive = y.Positive;
                results = [y.Output, .. results.Skip(1)];
            }

            Add(
                norm, x.Rank > 1 ? x[axis] : 1, norm.Eps, Statistics && norm.Centred ? results[1] : null, Statistics ? results[norm.Centred ? 2 : 1] : null, positive);
            return results;
        }

        private IReadOnlyList<Tensor> Count(BiasActOp op, Tensor[] inputs)
        {
            // Without a bias it has no axis of its own.
            var axis = op.Bias ? op.Dim : ChannelAxis(inputs[0]);
            if (inputs[0].Rank < 2) return op.Apply(inputs).Outputs;
            var results = (op with { Counts = true, Dim = axis }).Apply(inputs).Outputs;
            Add(op, inputs[0].Shape[axis], 0, null, null, Counts && op.Activation is not null ? results[1] : null, Finite ? results[2] : null);
            return results;
        }

        private IReadOnlyList<Tensor> Count(Activation activation, Tensor x, int axis)
        {
            var y = F.BiasAct(x, null, activation, dim: axis, counts: true);
            Add(activation, x.Shape[axis], 0, null, null, y.Positive, Finite ? y.Nonfinite : null);
            return [y.Output];
        }

        /// <summary>Images lie with their channels last behind an op that says so, and behind element-wise ops on such.</summary>
        private static int ChannelAxis(Tensor x)
        {
            if (x.Rank != 4) return 1;
            for (var at = x; ; at = at.Node.Inputs[0])
            {
                if (at.Node.Op is ConvolutionNhwcOp or MaxPoolNhwcOp or BatchNormOp { ChannelsLast: true } or GroupNormOp { ChannelsLast: true }) return 3;
                if (at.Node.Op is not (ElementwiseOp or Activation or BiasActOp) || at.Node.Inputs[0].Shape != x.Shape) return 1;
            }
        }

        private void Add(Op op, int units, double eps, Tensor? mean, Tensor? invstd, Tensor? positive, Tensor? nonfinite = null)
        {
            if (mean is null && invstd is null && positive is null && nonfinite is null) return;
            var name = Scope.Current.Length > 0 ? Scope.Current : op.Name;
            var free = name;
            for (var n = 2; !_names.Add(free); n++) free = $"{name}#{n}";
            Layers.Add(new LayerByProducts(free, units, eps, mean, invstd, positive, nonfinite));
        }
    }
}
