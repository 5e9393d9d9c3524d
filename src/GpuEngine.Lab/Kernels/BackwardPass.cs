using GpuEngine.Core.Graph;

namespace GpuEngine.Lab.Kernels;

/// <summary>The backward pass cut off from the forward one: what it reads of it becomes an input.</summary>
public static class BackwardPass
{
    /// <summary>Gradients of <paramref name="y"/> for a gradient "dy" of its own.</summary>
    public static NamedTensor[] Of(Tensor y, params Tensor[] wrt)
    {
        var dy = F.Input("dy", y.DType, y.Shape);
        var gradients = Autodiff.VectorJacobian([y], [dy], wrt).Select((g, i) => g ?? throw new InvalidOperationException($"No path leads from {y} to {wrt[i]}.")).ToArray();
        var forward = Traversal.Ancestors([y]).Where(n => n.Op is not Leaf).ToHashSet();
        var saved = 0;
        var map = Traversal.Rewrite(gradients, (node, _) => forward.Contains(node)
            ? [.. node.Outputs.Select(t => F.Input($"saved{saved++}", t.DType, t.Shape))]
            : null);
        return [.. gradients.Select((g, i) => new NamedTensor($"d{i}", map[g]))];
    }
}
