namespace GpuEngine.Core.Graph;

/// <summary>
/// x for x > 0, else w x with a learned slope w (He et al. 2015, equation 1): inputs x [N, C, ...] and weight, one element for
/// all channels or C elements, axis 1 being the channel (a vector or scalar x has one channel).
/// </summary>
public sealed record PReluOp : FusedOp
{
    internal static readonly OpSpec Spec = new("prelu", "x for x > 0, else weight * x with a learned weight")
    {
        Arguments = [new("input"), new("weight")],
        Build = call => call.Output(F.PRelu(call["input"], call["weight"])),
        Samples =
        [
            new() { ["input"] = Sample.Normal(5, 7), ["weight"] = Sample.Normal(7) },
            new() { ["input"] = Sample.Normal(3, 4, 5, 6), ["weight"] = Sample.Normal(4) },
            new() { ["input"] = Sample.Normal(2, 3, 19), ["weight"] = Sample.Normal(1) },
            new() { ["input"] = Sample.Normal(61), ["weight"] = Sample.Normal(1) },
        ],
    };

    public override string Name => "prelu";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        if (!x.DType.IsFloat() || w.DType != x.DType) throw Mismatch(Name, "an input and a weight of one float dtype", inputs);
        var channels = x.Shape.Rank > 1 ? x.Shape[1] : 1;
        if (w.Shape.Rank > 1 || (w.Elements != 1 && w.Elements != channels))
            throw new ShapeException($"prelu: an input of shape {x.Shape} has {channels} channels and needs a weight of shape [1] or [{channels}], but got {w.Shape}.");
        return [x];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var x = inputs[0];
        return [F.Where(F.Gt(x, F.Scalar(0, x.DType)), x, x * Column(inputs[1], x))];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        return [.. new PReluBackwardOp().Apply(g, node.Inputs[0], node.Inputs[1]).Outputs];
    }

    public override int InPlaceInput(int output) => 0;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 2 * node.Inputs[0].Type.Elements);

    /// <summary>One element, or C along axis 1.</summary>
    internal static Tensor Column(Tensor weight, Tensor x) => F.Reshape(weight, ColumnShape(weight.Shape, x.Rank));

    internal static Shape ColumnShape(Shape weight, int rank) =>
        weight.Elements == 1 ? Shape.Scalar : [1, (int)weight.Elements, .. Enumerable.Repeat(1, rank - 2)];
}

/// <summary>
/// Inputs (dy, x, weight), outputs dx and dweight: dx = dy or w dy, dweight = sum of dy x over x &lt;= 0 (He et al. 2015,
/// equations 2 and 3).
/// </summary>
public sealed record PReluBackwardOp : FusedOp
{
    public override string Name => "prelu_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs[0] == inputs[1]
        ? [inputs[1], inputs[2]]
        : throw Mismatch(Name, "dy and x of one type, and the weight", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (dy, x, w) = (inputs[0], inputs[1], PReluOp.Column(inputs[2], inputs[1]));
        var zero = F.Scalar(0, x.DType);
        var positive = F.Gt(x, zero);
        var dw = F.SumTo(F.Where(positive, zero, dy * x), w.Shape);
        return [F.Where(positive, dy, dy * w), F.Reshape(dw, inputs[2].Shape)];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 4 * node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <summary>Leaky relu with a learned slope per channel (axis 1) or for all of them.</summary>
    /// <exception cref="ShapeException">The weight has neither 1 element nor one per channel.</exception>
    public static Tensor PRelu(Tensor input, Tensor weight) => new PReluOp().Apply(input, weight).Outputs[0];
}
