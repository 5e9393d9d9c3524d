namespace GpuEngine.Core.Graph;

/// <summary>Walks over the graph. Deep nets make deep graphs: nothing here recurses.</summary>
public static class Traversal
{
    /// <summary>All nodes that the tensors depend on, their own included, oldest first (a topological order).</summary>
    public static IReadOnlyList<Node> Ancestors(IEnumerable<Tensor> of)
    {
        var seen = new HashSet<Node>();
        var stack = new Stack<Node>();
        foreach (var tensor in of)
        {
            if (seen.Add(tensor.Node)) stack.Push(tensor.Node);
        }

        while (stack.TryPop(out var node))
        {
            foreach (var input in node.Inputs)
            {
                if (seen.Add(input.Node)) stack.Push(input.Node);
            }
        }

        var nodes = seen.ToArray();
        Array.Sort(nodes, static (a, b) => a.Id.CompareTo(b.Id));
        return nodes;
    }

    /// <summary>The nodes that the tensors depend on without passing through the boundary, oldest first.</summary>
    public static IReadOnlyList<Node> Between(IReadOnlySet<Tensor> boundary, IEnumerable<Tensor> of)
    {
        var seen = new HashSet<Node>();
        var stack = new Stack<Tensor>(of);
        while (stack.TryPop(out var tensor))
        {
            if (boundary.Contains(tensor) || !seen.Add(tensor.Node)) continue;
            foreach (var input in tensor.Node.Inputs) stack.Push(input);
        }

        return [.. seen.OrderBy(n => n.Id)];
    }

    /// <summary>
    /// Rebuilds a graph, oldest node first. <paramref name="rewrite"/> gets each node and its new inputs and returns the new
    /// outputs, or null to apply the same op to the new inputs (the node itself when nothing changed). Nodes that stay are
    /// older than all new ones, so the numbers still increase along every edge; but a pass that wants to keep the order of
    /// execution as well must renew every node itself.
    /// </summary>
    public static Dictionary<Tensor, Tensor> Rewrite(IEnumerable<Tensor> outputs, Func<Node, Tensor[], IReadOnlyList<Tensor>?> rewrite)
    {
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in Ancestors(outputs))
        {
            using var scope = Scope.Restore(node.Scope);
            var inputs = node.Inputs.Select(t => map[t]).ToArray();
            var result = rewrite(node, inputs) ?? Rebuild(node, inputs);
            for (var i = 0; i < node.Outputs.Count; i++) map[node.Outputs[i]] = result[i];
        }

        return map;
    }

    /// <summary>The node's outputs when the inputs are its own, else those of its op applied to the new inputs.</summary>
    internal static IReadOnlyList<Tensor> Rebuild(Node node, Tensor[] inputs)
    {
        for (var i = 0; i < inputs.Length; i++)
        {
            if (inputs[i] != node.Inputs[i]) return node.Op.Apply(inputs).Outputs;
        }

        return node.Outputs;
    }
}
