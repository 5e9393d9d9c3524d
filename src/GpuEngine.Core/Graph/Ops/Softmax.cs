namespace GpuEngine.Core.Graph;

/// <summary>
/// exp(x_i) / sum of exp(x_j) along axis <paramref name="Dim"/>, or with <paramref name="Log"/> its logarithm, computed after
/// the maximum is subtracted. A line of minus infinities gives NaN, as in torch.
/// </summary>
public sealed record SoftmaxOp(int Dim, bool Log) : FusedOp
{
    internal static readonly OpSpec Spec = Entry("softmax", "exp(x) over its sum along an axis", false);

    internal static readonly OpSpec LogSpec = Entry("log_softmax", "logarithm of softmax", true);

    public override string Name => Log ? "log_softmax" : "softmax";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (!inputs[0].DType.IsFloat() || Dim < 0 || Dim >= inputs[0].Shape.Rank) throw Mismatch(Name, $"a float tensor with an axis {Dim}", inputs);
        return [inputs[0]];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        // A shift of the whole line changes nothing, so no gradient flows through the maximum.
        var shifted = inputs[0] - F.Detach(F.Amax(inputs[0], [Dim]));
        var e = F.Exp(shifted);
        return [Log ? shifted - F.Log(F.Sum(e, [Dim])) : e / F.Sum(e, [Dim])];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new SoftmaxBackwardOp(Dim, Log).Apply(g, node.Outputs[0]).Outputs[0] : null];

    public override int InPlaceInput(int output) => 0;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 4 * node.Inputs[0].Type.Elements);

    /// <summary>torch's axis where none is given: 0 for rank 0, 1 and 3, else 1.</summary>
    internal static int ImplicitDim(int rank) => rank is 0 or 1 or 3 ? 0 : 1;

    private static OpSpec Entry(string name, string summary, bool log) => new(name, summary)
    {
        Attributes = [new("dim", null, "the axis; not given: 0 for inputs of rank 0, 1 and 3, else 1")],
        Build = call =>
        {
            var x = call["input"];
            var dim = call.Has("dim") ? call.Integer("dim") : ImplicitDim(x.Rank);
            return call.Output(log ? F.LogSoftmax(x, dim) : F.Softmax(x, dim));
        },
        Samples =
        [
            new() { ["input"] = Sample.Normal(5, 7), Attributes = { ["dim"] = -1 } },
            new() { ["input"] = Sample.Uniform(-30, 30, 3, 67), Attributes = { ["dim"] = 1 } },
            new() { ["input"] = Sample.Normal(2, 5, 3, 4), Attributes = { ["dim"] = 1 } },
            new() { ["input"] = Sample.Normal(5, 35), Attributes = { ["dim"] = 0 } },
            new() { ["input"] = Sample.Normal(4, 1), Attributes = { ["dim"] = 1 } },
        ],
    };
}

/// <summary>
/// dx from (dy, y), y being the forward result: y (dy - sum of dy y), or for the logarithm dy - exp(y) sum of dy.
/// </summary>
public sealed record SoftmaxBackwardOp(int Dim, bool Log) : FusedOp
{
    public override string Name => Log ? "log_softmax_backward" : "softmax_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0] == inputs[1] ? [inputs[0]] : throw Mismatch(Name, "two tensors of one type", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (dy, y) = (inputs[0], inputs[1]);
        return [Log ? dy - F.Exp(y) * F.Sum(dy, [Dim]) : y * (dy - F.Sum(dy * y, [Dim]))];
    }

    public override int InPlaceInput(int output) => 0;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 4 * node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <exception cref="ShapeException">The axis does not exist.</exception>
    public static Tensor Softmax(Tensor input, int dim) => Softmax(input, dim, false);

    /// <exception cref="ShapeException">The axis does not exist.</exception>
    public static Tensor LogSoftmax(Tensor input, int dim) => Softmax(input, dim, true);

    private static Tensor Softmax(Tensor input, int dim, bool log)
    {
        // A scalar is taken for a vector of one element, as in torch.
        var x = input.Rank == 0 ? Reshape(input, [1]) : input;
        var op = new SoftmaxOp(x.Shape.Axis(dim, log ? "log_softmax" : "softmax"), log);
        return Reshape(op.Apply(x).Outputs[0], input.Shape);
    }
}
