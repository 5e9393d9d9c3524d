using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Graph;

/// <summary>
/// Splits a program that runs many times over unchanged variables in two: what depends on variables alone (folded weights, weights in another
/// dtype or layout) is computed once, by a program of its own, into variables that the other one reads.
/// </summary>
public static class HoistConstants
{
    /// <param name="program">A program without updates.</param>
    /// <returns>The program to run before, null where it would have nothing to do, and the one to run per batch.</returns>
    public static (TensorProgram? Preparation, TensorProgram PerRun) Apply(TensorProgram program)
    {
        var constant = new HashSet<Node>();
        foreach (var node in program.Nodes)
        {
            // What depends on nothing at all is constant as well, but devices fill such leaves once by themselves.
            if (node.Op is VariableOp || (node.Op is not InputOp && node.Inputs.Count > 0 && node.Inputs.All(t => constant.Contains(t.Node) || t.Node.Op is ConstantOp or LiteralOp or IotaOp)))
                constant.Add(node);
        }

        var updates = new List<VariableUpdate>();
        var hoisted = new Dictionary<Tensor, Tensor>();
        var map = Traversal.Rewrite(program.Roots, (node, inputs) => constant.Contains(node) ? node.Outputs : node.Op is Leaf ? null : node.Op.Apply([.. inputs.Select(Hoist)]).Outputs);
        var perRun = new TensorProgram(program.Name, [.. program.Outputs.Select(o => o with { Tensor = Hoist(map[o.Tensor]) })]);
        return updates.Count == 0 ? (null, program) : (new TensorProgram("prepare_" + program.Name, [], updates), perRun);

        Tensor Hoist(Tensor tensor)
        {
            if (!constant.Contains(tensor.Node)) return tensor;
            if (hoisted.TryGetValue(tensor, out var known)) return known;
            var node = tensor.Node;
            if (node.Op is VariableOp) return tensor;
            // Views cost nothing: what they show is hoisted, once for all views of it.
            if (node.Op is ReshapeOp or DetachOp or IdentityOp or SliceOp) return hoisted[tensor] = node.Op.Apply([.. node.Inputs.Select(Hoist)]).Outputs[tensor.Index];
            var variable = new Variable($"{program.Name}.{updates.Count}.{node.Scope}", tensor.DType, tensor.Shape, MemoryClass.Weights);
            updates.Add(new VariableUpdate(variable, tensor));
            return hoisted[tensor] = variable.Value;
        }
    }
}
