using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>Replaces what the target has no kernel for: fused ops by their decompositions, bf16 arithmetic by f32 with one rounding.</summary>
public static class Lowering
{
    public static TensorProgram Apply(TensorProgram program, IPlanTarget target)
    {
        // A fused op that is going to be decomposed is widened as a whole, so that its parts are not rounded one by one.
        // Every node is renewed, so that those that stay keep their places in the order of execution.
        program = program.Map(Traversal.Rewrite(program.Roots, (node, inputs) =>
            node.Op is Leaf ? node.Outputs
            : target.WidensBf16 || (node.Op is FusedOp && !target.HasKernel(node)) ? Widen(node, inputs)
            : node.Op.Apply(inputs).Outputs));
        return program.Map(Traversal.Rewrite(program.Roots, (node, inputs) => Lower(node, inputs, target)));
    }

    /// <summary>The program with every fused op replaced down to primitives: the executable specification.</summary>
    public static TensorProgram ToPrimitives(TensorProgram program) =>
        program.Map(Traversal.Rewrite(program.Roots, (node, inputs) => Lower(node, inputs, null)));

    private static IReadOnlyList<Tensor> Lower(Node node, Tensor[] inputs, IPlanTarget? target)
    {
        if (node.Op is IdentityOp) return inputs;
        // Plans run nodes in the order of their numbers. Nodes that stay as they are would move in front of all new ones (the
        // transposes and masks of the last layers to the start of the step, living until they are needed): renew them too.
        if (node.Op is not FusedOp fused) return node.Op is Leaf ? node.Outputs : node.Op.Apply(inputs).Outputs;
        var applied = fused.Apply(inputs);
        if (target is not null && target.HasKernel(applied)) return applied.Outputs;
        var outputs = fused.Decompose(inputs);
        // A decomposition may contain other fused ops; it is small, so a nested rewrite down to its own inputs is cheap.
        var boundary = inputs.ToHashSet();
        var map = new Dictionary<Tensor, Tensor>();
        foreach (var node2 in Traversal.Between(boundary, outputs))
        {
            var inputs2 = node2.Inputs.Select(t => map.GetValueOrDefault(t, t)).ToArray();
            var result = Lower(node2, inputs2, target);
            for (var i = 0; i < result.Count; i++) map[node2.Outputs[i]] = result[i];
        }

        return [.. outputs.Select(t => map.GetValueOrDefault(t, t))];
    }

    private static IReadOnlyList<Tensor> Widen(Node node, Tensor[] inputs)
    {
        var moves = node.Op is ReshapeOp or DetachOp or PermuteOp or BroadcastToOp or SliceOp or PadOp or ConcatOp or PackOp or CastOp or IdentityOp;
        if (moves || (inputs.All(t => t.DType != DType.BF16) && node.Outputs.All(t => t.DType != DType.BF16))) return node.Op.Apply(inputs).Outputs;
        var op = node.Op is RandomUniformOp random ? random with { DType = DType.F32 } : node.Op;
        var wide = op.Apply([.. inputs.Select(t => t.DType == DType.BF16 ? F.Cast(t, DType.F32) : t)]).Outputs;
        return [.. wide.Select((t, i) => F.Cast(t, node.Outputs[i].DType))];
    }
}
