namespace GpuEngine.Core.Graph;

/// <summary>
/// The maximum over <paramref name="Pieces"/> neighbouring channels (Goodfellow et al. 2013): input [N, C k, ...] to [N, C, ...],
/// output channel c being the maximum of input channels c k .. c k + k - 1. With a linear layer of C k outputs in front, that is
/// max over j of (w_cj x + b_cj). The gradient goes to the first maximum; NaN counts as the largest. Outputs: y, and which piece it
/// was, as u8 (i32 beyond 256 pieces) of y's shape: all that the backward pass reads beside dy.
/// </summary>
public sealed record MaxoutOp(int Pieces, int Dim = 1) : FusedOp
{
    internal static readonly OpSpec Spec = new("maxout", "maximum over groups of neighbouring channels")
    {
        Attributes = [new("num_pieces", 2.0, "channels in a group"), new("dim", 1.0, "the channel axis")],
        Build = call => call.Output(F.Maxout(call["input"], call.Integer("num_pieces"), call.Integer("dim"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(5, 14) },
            new() { ["input"] = Sample.Normal(2, 6, 3, 5), Attributes = { ["num_pieces"] = 3 } },
            new() { ["input"] = Sample.Normal(35), Attributes = { ["num_pieces"] = 5, ["dim"] = -1 } },
            new() { ["input"] = Sample.Normal(3, 4), Attributes = { ["num_pieces"] = 1 } },
        ],
    };

    public override string Name => "maxout";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (!x.DType.IsFloat() || Dim < 0 || Dim >= x.Shape.Rank) throw Mismatch(Name, $"a float tensor with an axis {Dim}", inputs);
        if (Pieces < 1 || x.Shape[Dim] % Pieces != 0)
            throw new ShapeException($"maxout: the {x.Shape[Dim]} channels of {x.Shape} (axis {Dim}) do not divide into groups of num_pieces = {Pieces}.");
        var y = x with { Shape = x.Shape.With(Dim, x.Shape[Dim] / Pieces) };
        return [y, y with { DType = IndexDType(Pieces) }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var x = Grouped(inputs[0]);
        // Its gradient is that of the gather: the index is a constant.
        var first = F.Reshape(F.ArgMax(F.Detach(x)), x.Shape.With(3, 1));
        var shape = inputs[0].Shape.With(Dim, inputs[0].Shape[Dim] / Pieces);
        return [Ungrouped(F.Gather(x, first), shape), F.Cast(Ungrouped(first, shape), IndexDType(Pieces))];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new MaxoutBackwardOp(Pieces, Dim).Apply(g, node.Outputs[1]).Outputs[0] : null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);

    /// <summary>[before, channels, after] as [before, C, after, k]: the pieces last.</summary>
    internal Tensor Grouped(Tensor x)
    {
        var (before, after) = ((int)x.Shape.Product(0, Dim), (int)x.Shape.Product(Dim + 1, x.Rank));
        return F.Permute(F.Reshape(x, [before, x.Shape[Dim] / Pieces, Pieces, after]), [0, 1, 3, 2]);
    }

    internal static Tensor Ungrouped(Tensor grouped, Shape shape) => F.Reshape(F.Permute(grouped, [0, 1, 3, 2]), shape);

    /// <summary>What holds the number of a piece.</summary>
    internal static DType IndexDType(int pieces) => pieces <= 256 ? DType.U8 : DType.I32;
}

/// <summary>dx from (dy, index): dy at the piece of each group that the index names, 0 elsewhere.</summary>
public sealed record MaxoutBackwardOp(int Pieces, int Dim) : FusedOp
{
    public override string Name => "maxout_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0].DType.IsFloat() && inputs[1] == (inputs[0] with { DType = MaxoutOp.IndexDType(Pieces) })
            ? [inputs[0] with { Shape = Whole(inputs[0].Shape) }]
            : throw Mismatch(Name, "the gradient of a maxout and its index", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var y = inputs[0].Shape;
        Shape grouped = [(int)y.Product(0, Dim), y[Dim], (int)y.Product(Dim + 1, y.Rank), 1];
        var (g, index) = (F.Reshape(inputs[0], grouped), F.Reshape(F.Cast(inputs[1], DType.I32), grouped));
        return [MaxoutOp.Ungrouped(F.ScatterAdd(g, index, Pieces), Whole(y))];
    }

    private Shape Whole(Shape y) => y.With(Dim, y[Dim] * Pieces);
}

public static partial class F
{
    /// <summary>The maximum over groups of neighbouring channels of axis <paramref name="dim"/>.</summary>
    /// <exception cref="ShapeException">The channels do not divide into groups.</exception>
    public static Tensor Maxout(Tensor input, int numPieces, int dim = 1) =>
        new MaxoutOp(numPieces, input.Shape.Axis(dim, "maxout")).Apply(input).Outputs[0];
}
