using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Joins the sum of two gradients with the launch that makes one of them: where a value is read by an activation and by a skip connection,
/// what came on the other path is added where dx is written, so dx is neither stored nor read by itself. A device's own
/// rewrite of a lowered program, because decompositions know nothing of it.
/// </summary>
internal static class GradientSums
{
    public static TensorProgram Apply(TensorProgram program)
    {
        var readers = program.Nodes.SelectMany(n => n.Inputs.Select(t => (Tensor: t, Reader: n))).ToLookup(p => p.Tensor, p => p.Reader);
        var roots = program.Roots.ToHashSet();
        var bySum = new Dictionary<Node, (Node Backward, Tensor Other)>();
        var joined = new HashSet<Node>();
        foreach (var sum in program.Nodes)
        {
            if (sum.Op is not BinaryOp { Kind: BinaryKind.Add }) continue;
            for (var i = 0; i < 2; i++)
            {
                var (dx, other) = (sum.Inputs[i], sum.Inputs[1 - i]);
                if (dx.Type != other.Type || !CanAdd(dx) || roots.Contains(dx) || readers[dx].Count() != 1 || joined.Contains(dx.Node)) continue;
                // The joined launch stands where the sum stood: nobody may have read a bias's gradient before.
                if (dx.Node.Outputs.Skip(1).Any(t => readers[t].Any(r => r.Id < sum.Id))) continue;
                bySum.Add(sum, (dx.Node, other));
                joined.Add(dx.Node);
                break;
            }
        }

        return bySum.Count == 0 ? program : program.Map(Rebuild(program, bySum, joined));
    }

    private static bool CanAdd(Tensor dx) =>
        dx.Index == 0 && dx.DType is DType.F32 or DType.BF16 && dx.Node.Op is ActivationBackwardOp or BiasActBackwardOp { Adds: false };

    private static Dictionary<Tensor, Tensor> Rebuild(
        TensorProgram program, Dictionary<Node, (Node Backward, Tensor Other)> bySum, HashSet<Node> joined)
    {
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node in program.Nodes.Where(n => !joined.Contains(n)))
        {
            using var scope = Scope.Restore(node.Scope);
            if (bySum.TryGetValue(node, out var parts))
            {
                var made = Joined(parts.Backward, map, map[parts.Other]);
                map[node.Outputs[0]] = made[0];
                for (var i = 1; i < made.Count; i++) map[parts.Backward.Outputs[i]] = made[i];
                continue;
            }

            // Every node is renewed, so that those that stay keep their places in the order of execution.
            var outputs = node.Op is Leaf ? node.Outputs : node.Op.Apply([.. node.Inputs.Select(t => map[t])]).Outputs;
            for (var i = 0; i < outputs.Count; i++) map[node.Outputs[i]] = outputs[i];
        }

        return map;
    }

    private static IReadOnlyList<Tensor> Joined(Node backward, Dictionary<Tensor, Tensor> map, Tensor other)
    {
        using var scope = Scope.Restore(backward.Scope);
        List<Tensor> inputs = [.. backward.Inputs.Select(t => map[t])];
        var op = backward.Op as BiasActBackwardOp ?? new BiasActBackwardOp(((ActivationBackwardOp)backward.Op).Of, null, 0, false, false);
        inputs.Insert(op.AddedInput, other);
        return (op with { Adds = true }).Apply([.. inputs]).Outputs;
    }
}
