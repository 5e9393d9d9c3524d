namespace GpuEngine.Core.Graph;

/// <summary>
/// The S-shaped rectified linear unit (Jin et al. 2016, "Deep learning with S-shaped rectified linear activation units",
/// equation 1): t_r + a_r (x - t_r) for x >= t_r; x between; t_l + a_l (x - t_l) for x &lt;= t_l, with four learned numbers per
/// channel (axis 1 of x [N, C, ...]; a vector or scalar x has one channel). With both slopes 1 it is the identity. Where t_l
/// exceeds t_r, which training may lead to, the right piece wins.
/// </summary>
public sealed record SReluOp : FusedOp
{
    internal static readonly OpSpec Spec = new("srelu", "three linear pieces with learned thresholds and slopes per channel")
    {
        Arguments = [new("input"), new("t_r"), new("a_r"), new("t_l"), new("a_l")],
        Build = call => call.Output(F.SRelu(call["input"], call["t_r"], call["a_r"], call["t_l"], call["a_l"])),
        Samples = [Of([5, 7], 7), Of([3, 4, 5, 6], 4), Of([67], 1)],
    };

    public override string Name => "srelu";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        var channels = x.Shape.Rank > 1 ? x.Shape[1] : 1;
        var channel = new TensorType(x.DType, [channels]);
        if (!x.DType.IsFloat()) throw Mismatch(Name, "a float tensor", inputs);
        if (inputs.Skip(1).Any(p => p != channel))
            throw new ShapeException($"srelu: an input {x} has {channels} channels and needs t_r, a_r, t_l and a_l of type {channel}, but got {string.Join(", ", inputs.Skip(1))}.");
        return [x];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, p) = (inputs[0], Columns(inputs, 1));
        var left = F.Where(F.Le(x, p[2]), p[2] + p[3] * (x - p[2]), x);
        return [F.Where(F.Ge(x, p[0]), p[0] + p[1] * (x - p[0]), left)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return new Tensor?[5];
        return [.. new SReluBackwardOp().Apply([g, .. node.Inputs]).Outputs];
    }

    public override int InPlaceInput(int output) => 0;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 3 * node.Inputs[0].Type.Elements);

    /// <summary>The four parameters, shaped to meet the channel axis of the input before them.</summary>
    internal static Tensor[] Columns(IReadOnlyList<Tensor> inputs, int first) =>
        [.. inputs.Skip(first).Select(p => F.Reshape(p, PReluOp.ColumnShape(p.Shape, inputs[first - 1].Rank)))];

    private static OpSample Of(int[] input, int channels) => new()
    {
        ["input"] = Sample.Normal(input),
        ["t_r"] = Sample.Uniform(0.2, 1, channels),
        ["a_r"] = Sample.Normal(channels),
        ["t_l"] = Sample.Uniform(-1, -0.2, channels),
        ["a_l"] = Sample.Normal(channels),
    };
}

/// <summary>
/// Inputs (dy, x, t_r, a_r, t_l, a_l), outputs dx and the gradients of the four parameters (Jin et al. 2016, equation 4): on
/// each outer piece 1 - a for the threshold, x - t for the slope, a for x.
/// </summary>
public sealed record SReluBackwardOp : FusedOp
{
    public override string Name => "srelu_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs[0] == inputs[1]
        ? [.. inputs.Skip(1)]
        : throw Mismatch(Name, "dy and x of one type, and four parameters per channel", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (dy, x, p) = (inputs[0], inputs[1], SReluOp.Columns(inputs, 2));
        var zero = F.Scalar(0, x.DType);
        var right = F.Ge(x, p[0]);
        var left = F.And(F.Le(x, p[2]), F.Not(right));
        Tensor Over(Tensor piece, Tensor value, Tensor parameter, Tensor like) =>
            F.Reshape(F.SumTo(F.Where(piece, value, zero), parameter.Shape), like.Shape);
        return
        [
            F.Where(right, dy * p[1], F.Where(left, dy * p[3], dy)),
            Over(right, dy * (1 - p[1]), p[0], inputs[2]),
            Over(right, dy * (x - p[0]), p[1], inputs[3]),
            Over(left, dy * (1 - p[3]), p[2], inputs[4]),
            Over(left, dy * (x - p[2]), p[3], inputs[5]),
        ];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 8 * node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <summary>Three linear pieces; all four parameters have one element per channel (axis 1).</summary>
    /// <exception cref="ShapeException">A parameter does not have one element per channel.</exception>
    public static Tensor SRelu(Tensor input, Tensor tR, Tensor aR, Tensor tL, Tensor aL) =>
        new SReluOp().Apply(input, tR, aR, tL, aL).Outputs[0];
}
