namespace GpuEngine.Core.Graph;

public enum ReduceKind
{
    Sum, Max,
}

/// <summary>
/// Sum or maximum over some axes, which keep extent 1 (reshape removes them). The order of summation is fixed by the shape,
/// never by the number of workers. The empty sum is 0, the empty maximum is minus infinity.
/// </summary>
public sealed record ReduceOp(ReduceKind Kind, Ints Axes) : Primitive
{
    public override string Name => Kind == ReduceKind.Sum ? "sum" : "amax";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var dims = inputs[0].Shape.ToArray();
        foreach (var axis in Axes)
        {
            if (axis < 0 || axis >= dims.Length) throw new ShapeException($"{Name}: axis {axis} is out of range for shape {inputs[0].Shape}.");
            dims[axis] = 1;
        }

        if (inputs[0].DType == DType.Bool) throw Mismatch(Name, "a numeric tensor", inputs);
        return [inputs[0] with { Shape = new Shape(dims) }];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null];
        var x = node.Inputs[0];
        if (Kind == ReduceKind.Sum) return [F.BroadcastTo(g, x.Shape)];
        // Ties share the gradient evenly, as torch.amax does.
        var winners = F.Cast(F.Eq(x, node.Outputs[0]), x.DType);
        return [winners * (g / F.Sum(winners, Axes))];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);
}

/// <summary>The index (i32) of the first maximum along the last axis, which is removed.</summary>
public sealed record ArgMaxOp : Primitive
{
    public override string Name => "argmax";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs[0].Shape is { Rank: > 0 } shape && shape[^1] > 0
        ? [new TensorType(DType.I32, new Shape(shape.AsSpan()[..^1]))]
        : throw Mismatch(Name, "a tensor whose last axis is not empty", inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [null];
}
