namespace GpuEngine.Core.Graph;

/// <summary>
/// Inverted dropout (Srivastava et al. 2014, section 10): each element is 0 with the DROP probability <see cref="P"/>,
/// else x / (1 - P). Inputs: x and the generator's state i64[2] (seed, offset), which lives in device memory so that a replayed
/// step draws a fresh mask. An element is kept where the uniform number of <see cref="RandomUniformOp"/> at its place is at
/// least P; the mask is drawn again in the backward pass from the same counter and never stored. It is the same for every dtype.
/// </summary>
public sealed record DropoutOp : FusedOp
{
    internal static readonly OpSpec Spec = new("dropout", "zeroes elements at random and scales the rest up")
    {
        Attributes =
        [
            new("p", 0.5, "probability of an element to be dropped"),
            new("training", true, "false: the input, unchanged"),
            new("keep_prob", null, "probability of an element to be kept, instead of p"),
            new("seed", 0.0, "seed of the generator"),
            new("offset", 0.0, "what advances from step to step"),
            new("stream", 0.0, "tells one consumer of random numbers from another"),
        ],
        Build = call =>
        {
            var generator = F.Literal([2], DType.I64, call.Integer("seed"), call.Integer("offset"));
            var p = call.Has("keep_prob") ? 1 - call.Number("keep_prob") : call.Number("p");
            return call.Output(F.Dropout(call["input"], p, call.Flag("training"), generator, call.Integer("stream")));
        },
        Samples =
        [
            new() { ["input"] = Sample.Normal(7, 33) },
            new() { ["input"] = Sample.Normal(2, 3, 11), Attributes = { ["p"] = 0.1, ["seed"] = 5, ["offset"] = 3, ["stream"] = 2 } },
            new() { ["input"] = Sample.Normal(5, 5), Attributes = { ["keep_prob"] = 0.9, ["training"] = true } },
            new() { ["input"] = Sample.Normal(5, 5), Attributes = { ["training"] = false } },
            new() { ["input"] = Sample.Normal(5, 5), Attributes = { ["p"] = 1 } },
        ],
    };

    /// <param name="p">Probability of an element to be dropped.</param>
    /// <param name="stream">The consumer's stream of random numbers.</param>
    /// <exception cref="UserException"><paramref name="p"/> is not a probability.</exception>
    public DropoutOp(double p, int stream)
    {
        if (!(p >= 0 && p <= 1)) throw new UserException($"dropout: the drop probability p must lie between 0 and 1, but is {p}.");
        (P, Stream) = (p, stream);
    }

    /// <summary>The drop probability.</summary>
    public double P { get; }

    public int Stream { get; }

    public override string Name => "dropout";

    /// <summary>
    /// P rounded up to a multiple of 2^-24, the grid of the uniform numbers: the comparison is then exact in f32 and f64 alike.
    /// </summary>
    public double Threshold => Math.Ceiling(P * (1 << 24)) / (1 << 24);

    /// <summary>What kept elements are multiplied by.</summary>
    public double Scale => P < 1 ? 1 / (1 - P) : 0;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0].DType.IsFloat() && inputs[1] == new TensorType(DType.I64, [2])
            ? [inputs[0]]
            : throw Mismatch(Name, "a float tensor and the generator's state i64[2] (seed, offset)", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var x = inputs[0];
        var uniform = F.RandomUniform(inputs[1], x.Shape, DType.F32, Stream);
        return [F.Where(F.Ge(uniform, F.Scalar(Threshold, DType.F32)), x * Scale, F.Scalar(0, x.DType))];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? Apply(g, node.Inputs[1]).Outputs[0] : null, null];

    public override int InPlaceInput(int output) => 0;
}

public static partial class F
{
    /// <summary>
    /// Inverted dropout with the drop probability <paramref name="p"/>, or the input itself when not training or p is 0.
    /// </summary>
    /// <param name="input">Any shape.</param>
    /// <param name="p">Probability of an element to be dropped.</param>
    /// <param name="training">False leaves the input as it is.</param>
    /// <param name="generator">The generator's state i64[2]: (seed, offset).</param>
    /// <param name="stream">Tells this consumer of random numbers from others.</param>
    /// <exception cref="UserException"><paramref name="p"/> is not a probability.</exception>
    public static Tensor Dropout(Tensor input, double p, bool training, Tensor generator, int stream)
    {
        var op = new DropoutOp(p, stream);
        return training && p > 0 ? op.Apply(input, generator).Outputs[0] : input;
    }
}
