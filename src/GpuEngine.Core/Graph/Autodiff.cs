namespace GpuEngine.Core.Graph;

/// <summary>
/// Reverse-mode differentiation as a graph transformation (Griewank and Walther, "Evaluating Derivatives", chapter 3):
/// gradients are more graph, so they can be differentiated again.
/// </summary>
public static class Autodiff
{
    /// <summary>
    /// Gradients of the scalar <paramref name="y"/> with respect to <paramref name="wrt"/>, zeros where y does not depend on
    /// an entry. The entries may be any tensors of the graph, not only leaves.
    /// </summary>
    /// <exception cref="ShapeException"><paramref name="y"/> is not a scalar.</exception>
    public static Tensor[] Gradients(Tensor y, IReadOnlyList<Tensor> wrt)
    {
        if (y.Type.Elements != 1) throw new ShapeException($"Gradients are taken of a scalar, but {y} has the shape {y.Shape}; sum it first.");
        var found = VectorJacobian([y], [F.Ones(y.Shape, y.DType)], wrt);
        return [.. found.Select((g, i) => g ?? F.Zeros(wrt[i].Shape, wrt[i].DType))];
    }

    /// <summary>
    /// Vector-Jacobian product: sum over i of seeds[i]^T d ys[i] / d wrt[j], or null where no path leads from wrt[j] to any
    /// seeded output.
    /// </summary>
    public static Tensor?[] VectorJacobian(IReadOnlyList<Tensor> ys, IReadOnlyList<Tensor?> seeds, IReadOnlyList<Tensor> wrt)
    {
        var targets = new HashSet<Tensor>(wrt);
        var order = NodesBetween(targets, ys);
        var gradients = new Dictionary<Tensor, Tensor>();
        for (var i = 0; i < ys.Count; i++)
        {
            if (seeds[i] is { } seed) Accumulate(gradients, ys[i], seed);
        }

        // Younger nodes first: every consumer of a value has contributed before the value's own node is visited.
        for (var i = order.Count - 1; i >= 0; i--)
        {
            var node = order[i];
            var outputs = node.Outputs.Select(t => gradients.GetValueOrDefault(t)).ToArray();
            if (outputs.All(g => g is null)) continue;
            using var scope = Scope.Restore(node.Scope);
            var inputs = node.Op.Gradient(node, outputs);
            for (var j = 0; j < inputs.Length; j++)
            {
                if (inputs[j] is { } g) Accumulate(gradients, node.Inputs[j], g);
            }
        }

        return [.. wrt.Select(t => gradients.GetValueOrDefault(t))];
    }

    /// <summary>
    /// The product of the Hessian of <paramref name="y"/> with the vector <paramref name="v"/> (one tensor per entry of
    /// <paramref name="wrt"/>): the gradient of the inner product of gradient and vector (Pearlmutter 1994).
    /// </summary>
    public static Tensor[] HessianVector(Tensor y, IReadOnlyList<Tensor> wrt, IReadOnlyList<Tensor> v)
    {
        var gradients = Gradients(y, wrt);
        var inner = gradients.Select((g, i) => F.Sum(g * F.Detach(v[i]))).Aggregate((a, b) => a + b);
        return Gradients(inner, wrt);
    }

    /// <summary>The vector-Jacobian product of a fused op by way of its decomposition.</summary>
    internal static Tensor?[] ThroughDecomposition(FusedOp op, Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        // Fresh stand-ins for the inputs, so that only paths inside this op are followed even when one input depends on another.
        var standIns = node.Inputs.Select(t => new IdentityOp().Apply(t).Outputs[0]).ToArray();
        var outputs = op.Decompose(standIns);
        var wrt = standIns.Where(t => t.DType.IsFloat()).ToArray();
        var found = VectorJacobian(outputs, outputGradients, wrt);
        var result = new Tensor?[standIns.Length];
        for (int i = 0, j = 0; i < result.Length; i++)
        {
            if (standIns[i].DType.IsFloat()) result[i] = found[j++];
        }

        return result;
    }

    private static void Accumulate(Dictionary<Tensor, Tensor> gradients, Tensor of, Tensor g)
    {
        if (g.Shape != of.Shape || g.DType != of.DType)
            throw new InvalidOperationException($"The gradient {g} does not have the type of {of}.");
        gradients[of] = gradients.TryGetValue(of, out var sum) ? sum + g : g;
    }

    /// <summary>The nodes on paths from the targets to the outputs, oldest first.</summary>
    private static List<Node> NodesBetween(HashSet<Tensor> targets, IReadOnlyList<Tensor> ys)
    {
        var reachable = new List<Node>(Traversal.Ancestors(ys));
        var depends = new HashSet<Node>();
        foreach (var node in reachable)
        {
            if (node.Inputs.Any(t => targets.Contains(t) || depends.Contains(t.Node))) depends.Add(node);
        }

        return [.. reachable.Where(depends.Contains)];
    }
}

/// <summary>A value under a second name; removed by simplification.</summary>
internal sealed record IdentityOp : Primitive
{
    public override string Name => "identity";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [inputs[0]];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [outputGradients[0]];

    public override Cost Cost(Node node) => default;
}
