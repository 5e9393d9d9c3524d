namespace GpuEngine.Core.Graph;

/// <summary>
/// Rewrites a forward graph, before autodiff, so that images lie with their channels last between convolutions, which is how
/// tensor cores read them. Convolutions, norms, pooling, element-wise ops, slices and padding follow; whatever else reads an image
/// gets it with channels first again. Names, shapes and results at the edges stay as they were.
/// </summary>
public static class ChannelsLastLayout
{
    /// <summary>The replacements of <paramref name="outputs"/>, in order; the same tensors where nothing convolves.</summary>
    public static IReadOnlyList<Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var nodes = Traversal.Ancestors(outputs);
        if (!nodes.Any(n => n.Op is Conv2dOp)) return outputs;
        var pass = new Pass();
        foreach (var node in nodes)
        {
            using var scope = Scope.Restore(node.Scope);
            pass.Visit(node);
        }

        return [.. outputs.Select(pass.First)];
    }

    /// <summary>The tensors made so far, in either layout or both.</summary>
    private sealed class Pass
    {
        private readonly Dictionary<Tensor, Tensor> _first = [];
        private readonly Dictionary<Tensor, Tensor> _last = [];

        public void Visit(Node node)
        {
            if (ChannelsLast(node) is { } images)
            {
                _last[node.Outputs[0]] = images[0];
                for (var i = 1; i < images.Count; i++) (node.Op is MaxPoolOp ? _last : _first)[node.Outputs[i]] = images[i];
                return;
            }

            var result = Traversal.Rebuild(node, [.. node.Inputs.Select(First)]);
            for (var i = 0; i < result.Count; i++) _first[node.Outputs[i]] = result[i];
        }

        public Tensor First(Tensor tensor)
        {
            if (_first.TryGetValue(tensor, out var first)) return first;
            return _first[tensor] = Layouts.ChannelsFirst(_last[tensor]);
        }

        private Tensor Last(Tensor tensor)
        {
            if (_last.TryGetValue(tensor, out var last)) return last;
            return _last[tensor] = Layouts.ChannelsLast(_first[tensor]);
        }

        /// <summary>The node's outputs with channels last; null for a node that stays as it is.</summary>
        private IReadOnlyList<Tensor>? ChannelsLast(Node node) => node.Op switch
        {
            Conv2dOp conv => [Convolve(conv, node)],
            _ when !node.Inputs.Any(_last.ContainsKey) => null,
            BatchNormOp norm => Normalise(norm, norm.Residual, node),
            BatchNormApplyOp norm => Normalise(norm, norm.Residual, node),
            MaxPoolOp pool => new MaxPoolNhwcOp(pool).Apply(Last(node.Inputs[0])).Outputs,
            AveragingOp pool => new AveragingNhwcOp(pool).Apply(Last(node.Inputs[0])).Outputs,
            LocalResponseNormOp norm => (norm with { ChannelsLast = true }).Apply(Last(node.Inputs[0])).Outputs,
            SliceOp s => [F.Slice(Last(node.Inputs[0]), Turn(s.Starts), Turn(s.Sizes), Turn(s.Steps))],
            PadOp p => [F.Pad(Last(node.Inputs[0]), Turn(p.Low), Turn(p.High), Turn(p.Interior))],
            ElementwiseOp or Activation when node.Inputs.All(t => FitsBeside(t, node.Outputs[0])) =>
                node.Op.Apply([.. node.Inputs.Select(t => t.Type.Elements == 1 ? First(t) : Last(t))]).Outputs,
            _ => null,
        };

        private Tensor Convolve(Conv2dOp conv, Node node)
        {
            var y = new ConvolutionNhwcOp(conv.Geometry).Apply(Last(node.Inputs[0]), Layouts.ChannelsLast(First(node.Inputs[1]))).Outputs[0];
            return conv.Bias ? y + F.Reshape(First(node.Inputs[2]), [1, 1, 1, y.Shape[3]]) : y;
        }

        private IReadOnlyList<Tensor> Normalise(Op norm, bool residual, Node node)
        {
            var last = node.Inputs.Count - 1;
            Op turned = norm is BatchNormOp whole ? whole with { ChannelsLast = true } : ((BatchNormApplyOp)norm) with { ChannelsLast = true };
            return turned.Apply([.. node.Inputs.Select((t, i) => i == 0 || (residual && i == last) ? Last(t) : First(t))]).Outputs;
        }

        private static bool FitsBeside(Tensor input, Tensor output) =>
            input.Type.Elements == 1 || (output.Rank == 4 && input.Shape == output.Shape);

        private static Ints Turn(Ints perAxis) => [perAxis[0], perAxis[2], perAxis[3], perAxis[1]];
    }
}
