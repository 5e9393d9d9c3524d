namespace GpuEngine.Core.Graph;

/// <summary>The same elements in the same order under another shape: never moves a byte.</summary>
public sealed record ReshapeOp(Shape To) : Primitive
{
    public override string Name => "reshape";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs[0].Elements == To.Elements
        ? [inputs[0] with { Shape = To }]
        : throw new ShapeException($"reshape: a tensor of shape {inputs[0].Shape} ({inputs[0].Elements} elements) cannot take the shape {To}.");

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? F.Reshape(g, node.Inputs[0].Shape) : null];

    public override Cost Cost(Node node) => default;
}

/// <summary>The same value, but no gradient flows back.</summary>
public sealed record DetachOp : Primitive
{
    public override string Name => "detach";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [inputs[0]];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [null];

    public override Cost Cost(Node node) => default;
}

/// <summary>Output axis i is input axis Order[i].</summary>
public sealed record PermuteOp(Ints Order) : Primitive
{
    public override string Name => "permute";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var shape = inputs[0].Shape;
        if (!Order.Order().SequenceEqual(Enumerable.Range(0, shape.Rank)))
            throw new ShapeException($"permute: {Order} is not an order of the axes of shape {shape}.");
        return [inputs[0] with { Shape = new Shape(Order.Select(a => shape[a]).ToArray()) }];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null];
        var inverse = new int[Order.Count];
        for (var i = 0; i < inverse.Length; i++) inverse[Order[i]] = i;
        return [F.Permute(g, inverse)];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 0);
}

/// <summary>Repeats along axes of extent 1 and along new leading axes.</summary>
public sealed record BroadcastToOp(Shape To) : Primitive
{
    public override string Name => "broadcast_to";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => Shape.Broadcast(inputs[0].Shape, To, Name) == To
        ? [inputs[0] with { Shape = To }]
        : throw new ShapeException($"broadcast_to: shape {inputs[0].Shape} cannot be repeated to {To}.");

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? F.SumTo(g, node.Inputs[0].Shape) : null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 0);
}

/// <summary>Elements Starts[i], Starts[i] + Steps[i], ... (Sizes[i] of them) of every axis i.</summary>
public sealed record SliceOp(Ints Starts, Ints Sizes, Ints Steps) : Primitive
{
    public override string Name => "slice";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var shape = inputs[0].Shape;
        if (Starts.Count != shape.Rank || Sizes.Count != shape.Rank || Steps.Count != shape.Rank)
            throw new ShapeException($"slice: {Starts}/{Sizes}/{Steps} does not have one entry per axis of {shape}.");
        for (var i = 0; i < shape.Rank; i++)
        {
            var last = Starts[i] + (long)(Sizes[i] - 1) * Steps[i];
            if (Starts[i] < 0 || Steps[i] < 1 || Sizes[i] < 0 || (Sizes[i] > 0 && last >= shape[i]))
                throw new ShapeException($"slice: start {Starts[i]}, size {Sizes[i]}, step {Steps[i]} leaves axis {i} of shape {shape}.");
        }

        return [inputs[0] with { Shape = new Shape(Sizes.AsSpan()) }];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null];
        var shape = node.Inputs[0].Shape;
        var high = new int[shape.Rank];
        for (var i = 0; i < high.Length; i++)
            high[i] = Sizes[i] == 0 ? shape[i] - Starts[i] : shape[i] - 1 - (Starts[i] + (Sizes[i] - 1) * Steps[i]);
        return [F.Pad(g, Starts, high, [.. Steps.Select(s => s - 1)])];
    }

    public override Cost Cost(Node node) => new(node.Outputs[0].Type.Bytes, node.Outputs[0].Type.Bytes, 0);
}

/// <summary>Zeros before, after and (Interior[i] of them) between the elements of every axis i.</summary>
public sealed record PadOp(Ints Low, Ints High, Ints Interior) : Primitive
{
    public override string Name => "pad";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var shape = inputs[0].Shape;
        if (Low.Count != shape.Rank || High.Count != shape.Rank || Interior.Count != shape.Rank)
            throw new ShapeException($"pad: {Low}/{High}/{Interior} does not have one entry per axis of {shape}.");
        var dims = new int[shape.Rank];
        for (var i = 0; i < dims.Length; i++)
        {
            if (Low[i] < 0 || High[i] < 0 || Interior[i] < 0) throw new ShapeException($"pad: {Low}/{High}/{Interior} has a negative entry.");
            dims[i] = Low[i] + High[i] + (shape[i] == 0 ? 0 : shape[i] + (shape[i] - 1) * Interior[i]);
        }

        return [inputs[0] with { Shape = new Shape(dims) }];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => outputGradients[0] is { } g
        ? [F.Slice(g, Low, node.Inputs[0].Shape.ToInts(), [.. Interior.Select(i => i + 1)])]
        : [null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 0);
}

/// <summary>The inputs one after the other along an axis.</summary>
public sealed record ConcatOp(int Axis) : Primitive
{
    public override string Name => "concat";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var first = inputs[0];
        if (Axis < 0 || Axis >= first.Shape.Rank) throw Mismatch(Name, $"tensors with an axis {Axis}", inputs);
        var extent = 0;
        foreach (var input in inputs)
        {
            if (input.DType != first.DType || input.Shape.Rank != first.Shape.Rank || input.Shape.With(Axis, 0) != first.Shape.With(Axis, 0))
                throw Mismatch(Name, $"one dtype and equal shapes except along axis {Axis}", inputs);
            extent = checked(extent + input.Shape[Axis]);
        }

        return [first with { Shape = first.Shape.With(Axis, extent) }];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        var result = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return result;
        var start = 0;
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = F.Narrow(g, Axis, start, node.Inputs[i].Shape[Axis]);
            start += node.Inputs[i].Shape[Axis];
        }

        return result;
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 0);
}

/// <summary>
/// A flat arena: input i (any shape) lies at element Offsets[i] of a vector of Length elements, zeros between. Gradients are
/// packed with it, so that an optimizer step or a gradient bucket is one range; a plan lets the producers write in place.
/// </summary>
public sealed record PackOp(Ints Offsets, int Length) : Primitive
{
    public override string Name => "pack";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var end = 0L;
        for (var i = 0; i < inputs.Count; i++)
        {
            if (inputs[i].DType != inputs[0].DType || Offsets[i] < end)
                throw Mismatch(Name, $"one dtype and ascending, disjoint offsets ({Offsets})", inputs);
            end = Offsets[i] + inputs[i].Elements;
        }

        return end <= Length ? [new TensorType(inputs[0].DType, [Length])] : throw Mismatch(Name, $"at most {Length} elements", inputs);
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        var result = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return result;
        for (var i = 0; i < result.Length; i++)
        {
            var type = node.Inputs[i].Type;
            result[i] = F.Reshape(F.Narrow(g, 0, Offsets[i], (int)type.Elements), type.Shape);
        }

        return result;
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 0);
}
