namespace GpuEngine.Core.Graph;

/// <summary>
/// residual + dropout(activation(x + bias)) in one op, every part optional: what follows a product of matrices in a network
/// (the name is that of Karras et al. 2020, StyleGAN2). The bias has one element per channel of axis <paramref name="Dim"/>.
/// </summary>
/// <remarks>
/// Inputs, in order: x; bias [C]; residual of x's type; the generator's state i64[2] (seed, offset) with dropout. Outputs: y of
/// x's type; with <paramref name="Counts"/> also, per channel and as i64 [C], how many values the activation left positive (a
/// dead unit has none) and how many values of y are not finite. The mask of dropout is drawn again in the backward pass.
/// </remarks>
public sealed record BiasActOp(Activation? Activation, DropoutOp? Dropout, int Dim, bool Bias, bool Residual, bool Counts = false) : FusedOp
{
    internal static readonly OpSpec Spec = new("bias_act", "residual + dropout(activation(input + bias))")
    {
        Arguments = [new("input"), new("bias", Optional: true), new("residual", Optional: true)],
        Attributes =
        [
            new("dim", 1.0, "the axis of the bias"),
            new("activation", "identity", "an activation by name, its attributes after a colon"),
            new("p", 0.0, "probability of an element to be dropped"),
            new("training", true, "false: nothing is dropped"),
            new("counts", false, "also counts positive and non-finite values per channel"),
            new("seed", 0.0, "seed of the generator"),
            new("offset", 0.0, "what advances from step to step"),
            new("stream", 0.0, "tells one consumer of random numbers from another"),
        ],
        Build = call =>
        {
            var dropout = new DropoutOp(call.Number("p"), call.Integer("stream"));
            var generator = F.Literal([2], DType.I64, call.Integer("seed"), call.Integer("offset"));
            var (output, positive, nonfinite) = F.BiasAct(
                call["input"], call.Optional("bias"), Activations.Parse(call.Text("activation")), call.Flag("training") ? dropout : null,
                generator, call.Optional("residual"), call.Integer("dim"), call.Flag("counts"));
            return positive is null ? [new("output", output)] : [new("output", output), new("positive", positive), new("nonfinite", nonfinite!)];
        },
        Samples =
        [
            Of([5, 7], "gelu", bias: true), Of([6, 8], "relu", bias: true, p: 0.4), Of([3, 4, 5, 6], "silu", bias: true, residual: true, p: 0.3),
            Of([2, 3, 8], "tanh", bias: true, dim: -1), Of([3, 4], "identity", residual: true, p: 0.5), Of([5, 3], "relu"),
            Of([4, 6], "leaky_relu:0.1", bias: true, p: 0.25, counts: true), Of([19], "identity", bias: true, dim: 0),
        ],
    };

    public override string Name => "bias_act";

    /// <summary>
    /// Whether the backward pass reads y in place of x: possible where y tells the slope and nothing was added to it, and better
    /// because y is kept for the next layer anyway.
    /// </summary>
    public bool FromOutput => !Residual && Activation is { SlopeFromOutput: true };

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (!x.DType.IsFloat()) throw Mismatch(Name, "a float tensor", inputs);
        if ((Bias || Counts) && (Dim < 0 || Dim >= x.Shape.Rank)) throw Mismatch(Name, $"a tensor with an axis {Dim}", inputs);
        var (at, channels) = (1, Bias || Counts ? x.Shape[Dim] : 1);
        if (Bias && inputs[at++] != new TensorType(x.DType, [channels]))
            throw new ShapeException($"bias_act: an input {x} has {channels} channels along axis {Dim} and needs a bias {x.DType.Label()}[{channels}], but got {inputs[1]}.");
        if (Residual && inputs[at++] != x) throw Mismatch(Name, "a residual of the input's type", inputs);
        if (Dropout is not null && inputs[at] != new TensorType(DType.I64, [2])) throw Mismatch(Name, "the generator's state i64[2] (seed, offset)", inputs);
        var count = new TensorType(DType.I64, [channels]);
        return Counts ? [x, count, count] : [x];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var y = inputs[0];
        if (Bias) y += Column(inputs[1], y, Dim);
        if (Activation is not null) y = Activation.On(y);
        var active = y;
        if (Dropout is not null) y = Dropout.Apply(y, inputs[^1]).Outputs[0];
        if (Residual) y += inputs[Bias ? 2 : 1];
        if (!Counts) return [y];
        Tensor Count(Tensor mask) => F.Reshape(F.Sum(F.Cast(mask, DType.I64), Others(y.Rank, Dim)), [y.Shape[Dim]]);
        return [y, Count(F.Gt(active, F.Scalar(0, y.DType))), Count(F.Not(F.IsFinite(y)))];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        var gradients = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return gradients;
        if (Residual) gradients[Bias ? 2 : 1] = g;
        var backward = new BiasActBackwardOp(Activation, Dropout, Dim, Bias, FromOutput);
        List<Tensor> inputs = [g];
        if (Activation is not null) inputs.Add(FromOutput ? node.Outputs[0] : node.Inputs[0]);
        if (backward.AddsBias) inputs.Add(node.Inputs[1]);
        if (backward.DrawsMask) inputs.Add(node.Inputs[^1]);
        var outputs = backward.Apply([.. inputs]).Outputs;
        gradients[0] = outputs[0];
        if (Bias) gradients[1] = outputs[1];
        return gradients;
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, (1 + (Bias ? 1 : 0) + (Residual ? 1 : 0)) * node.Inputs[0].Type.Elements);

    /// <summary>One element per channel, shaped to meet axis <paramref name="dim"/> of x.</summary>
    internal static Tensor Column(Tensor bias, Tensor x, int dim) =>
        F.Reshape(bias, new Shape([.. Enumerable.Range(0, x.Rank).Select(axis => axis == dim ? x.Shape[dim] : 1)]));

    /// <summary>All axes but one.</summary>
    internal static Ints Others(int rank, int dim) => Enumerable.Range(0, rank).Where(axis => axis != dim).ToArray();

    private static OpSample Of(
        int[] shape, string activation, bool bias = false, bool residual = false, double p = 0, int dim = 1, bool counts = false)
    {
        var sample = new OpSample { ["input"] = Sample.Normal(shape) };
        if (bias) sample["bias"] = Sample.Normal(shape[dim < 0 ? shape.Length + dim : dim]);
        if (residual) sample["residual"] = Sample.Normal(shape);
        foreach (var (name, value) in new (string, object)[] { ("activation", activation), ("p", p), ("dim", dim), ("counts", counts), ("seed", 4), ("stream", 1) })
            sample.Attributes[name] = value;
        return sample;
    }
}

public static partial class F
{
    /// <summary>
    /// residual + dropout(activation(input + bias)), every part optional. With <paramref name="counts"/> also, per channel, how many
    /// values the activation left positive and how many results are not finite, as i64.
    /// </summary>
    /// <param name="input">Any shape.</param>
    /// <param name="bias">One element per channel.</param>
    /// <param name="activation">Null is the identity.</param>
    /// <param name="dropout">Null, or a drop probability of 0: nothing is dropped.</param>
    /// <param name="generator">The generator's state i64[2]: (seed, offset); needed with dropout.</param>
    /// <param name="residual">Of the input's type.</param>
    /// <param name="dim">The channel axis: 1, or -1 for the last.</param>
    /// <param name="counts">Asks for the counts.</param>
    /// <exception cref="ShapeException">The shapes do not fit, or the axis does not exist.</exception>
    public static (Tensor Output, Tensor? Positive, Tensor? Nonfinite) BiasAct(
        Tensor input, Tensor? bias, Activation? activation, DropoutOp? dropout = null, Tensor? generator = null, Tensor? residual = null,
        int dim = 1, bool counts = false)
    {
        if (activation is Identity) activation = null;
        if (dropout is { P: 0 }) dropout = null;
        if (bias is null && activation is null && dropout is null && residual is null && !counts) return (input, null, null);
        var axis = bias is null && !counts ? 0 : input.Shape.Axis(dim, "bias_act");
        var op = new BiasActOp(activation, dropout, axis, bias is not null, residual is not null, counts);
        Tensor?[] inputs = [input, bias, residual, dropout is null ? null : generator];
        var outputs = op.Apply([.. inputs.OfType<Tensor>()]).Outputs;
        return (outputs[0], counts ? outputs[1] : null, counts ? outputs[2] : null);
    }
}
