using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>
/// Exact clean-up, bit for bit: common subexpressions, chains of views, transposes that a matmul can absorb, arithmetic with
/// neutral constants, constants of constants. Dead nodes vanish because only what the outputs need is rebuilt. A node that makes a
/// value again on purpose (<see cref="Node.Repeats"/>) is not merged with the one that made it first.
/// </summary>
public static class Simplification
{
    /// <param name="program">What is simplified.</param>
    /// <param name="mergeWidening">
    /// False leaves every widening of bf16 its own: a device that widens around each computation would otherwise keep the wide copy of an
    /// activation from the forward to the backward pass.
    /// </param>
    public static TensorProgram Apply(TensorProgram program, bool mergeWidening = true)
    {
        var known = new Dictionary<Key, IReadOnlyList<Tensor>>();
        return program.Map(Traversal.Rewrite(program.Roots, (node, inputs) =>
        {
            if (node.Op is InputOp or VariableOp) return node.Outputs;
            if (Replace(node, inputs) is { } simpler) return [simpler];
            if (!mergeWidening && node.Op is CastOp && inputs[0].DType == DType.BF16 && inputs[0].Node.Op is not Leaf) return node.Op.Apply(inputs).Outputs;
            var key = new Key(node.Op, inputs, node.Repeats);
            if (known.TryGetValue(key, out var same)) return same;
            var outputs = node.Op is Leaf ? node.Outputs : node.Op.Apply(inputs).Outputs;
            known.Add(key, outputs);
            return outputs;
        }));
    }

    private static Tensor? Replace(Node node, Tensor[] inputs)
    {
        var type = node.Outputs[0].Type;
        switch (node.Op)
        {
            case IdentityOp or DetachOp:
                return inputs[0];
            case ReshapeOp when inputs[0].Shape == type.Shape:
            case BroadcastToOp when inputs[0].Shape == type.Shape:
            case CastOp when inputs[0].DType == type.DType:
                return inputs[0];
            case ReshapeOp when inputs[0].Node.Op is ReshapeOp:
                return F.Reshape(inputs[0].Node.Inputs[0], type.Shape);
            case ReshapeOp or BroadcastToOp or CastOp when Constant(inputs[0]) is { } value && (type.DType.IsFloat() || value == Math.Floor(value)):
                return F.Full(type.Shape, RoundTo(value, type.DType), type.DType);
            case PermuteOp { Order: var order } when order.Where(axis => inputs[0].Shape[axis] != 1) is var kept && kept.SequenceEqual(kept.Order()):
                // Only axes of one element move, as those of a 1x1 window do: nothing moves in memory.
                return F.Reshape(inputs[0], type.Shape);
            case MatMulOp op:
                return AbsorbTransposes(op, inputs);
            case BinaryOp op:
                return Neutral(op.Kind, inputs[0], inputs[1], type);
            default:
                return null;
        }
    }

    private static Tensor? AbsorbTransposes(MatMulOp op, Tensor[] inputs)
    {
        var (a, b) = (inputs[0], inputs[1]);
        var (ta, tb) = (op.TransposeA, op.TransposeB);
        if (IsTranspose(a)) (a, ta) = (a.Node.Inputs[0], !ta);
        if (IsTranspose(b)) (b, tb) = (b.Node.Inputs[0], !tb);
        return ta == op.TransposeA && tb == op.TransposeB ? null : F.MatMul(a, b, ta, tb);
    }

    private static bool IsTranspose(Tensor x)
    {
        if (x.Node.Op is not PermuteOp { Order: var order }) return false;
        var r = order.Count;
        return r >= 2 && order[r - 1] == r - 2 && order[r - 2] == r - 1 && order.Take(r - 2).SequenceEqual(Enumerable.Range(0, r - 2));
    }

    /// <summary>x*1, x/1, x+(-0) and the like. x+0 is not neutral for x = -0, but no kernel here tells -0 from 0, so it is taken as such.</summary>
    private static Tensor? Neutral(BinaryKind kind, Tensor a, Tensor b, TensorType type)
    {
        var (left, right) = (Constant(a), Constant(b));
        if (left is { } x && right is { } y && Fold(kind, x, y) is { } folded && type.DType.IsFloat())
            return F.Full(type.Shape, RoundTo(folded, type.DType), type.DType);
        return kind switch
        {
            BinaryKind.Add or BinaryKind.Sub when right == 0 && a.Shape == type.Shape => a,
            BinaryKind.Mul or BinaryKind.Div when right == 1 && a.Shape == type.Shape => a,
            BinaryKind.Add when left == 0 && b.Shape == type.Shape => b,
            BinaryKind.Mul when left == 1 && b.Shape == type.Shape => b,
            _ => null,
        };
    }

    private static double? Fold(BinaryKind kind, double x, double y) => kind switch
    {
        BinaryKind.Add => x + y,
        BinaryKind.Sub => x - y,
        BinaryKind.Mul => x * y,
        BinaryKind.Div => x / y,
        _ => null,
    };

    private static double? Constant(Tensor x) => x.Node.Op is ConstantOp op ? RoundTo(op.Value, x.DType) : null;

    private static double RoundTo(double value, DType dtype) => dtype is DType.F32 or DType.BF16 ? (float)value : value;

    /// <summary>An op with its inputs, compared by value and identity.</summary>
    private readonly struct Key(Op op, Tensor[] inputs, int repeats) : IEquatable<Key>
    {
        private readonly Op _op = op;
        private readonly Tensor[] _inputs = inputs;
        private readonly int _repeats = repeats;

        public bool Equals(Key other) => _repeats == other._repeats && _op.Equals(other._op) && _inputs.AsSpan().SequenceEqual(other._inputs);

        public override bool Equals(object? obj) => obj is Key other && Equals(other);

        public override int GetHashCode()
        {
            var hash = new HashCode();
            hash.Add(_op);
            foreach (var input in _inputs) hash.Add(input);
            return hash.ToHashCode();
        }
    }
}
