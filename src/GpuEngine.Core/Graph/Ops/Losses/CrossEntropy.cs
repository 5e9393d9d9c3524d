namespace GpuEngine.Core.Graph;

/// <summary>
/// -log softmax(x) at the target class, in torch's exact form. Inputs: logits [C] or [N, C, d1, ...]; the target: class indices
/// (i32 or i64) of shape [] or [N, d1, ...], or with <paramref name="Probabilities"/> class probabilities of the logits' shape; and with
/// <paramref name="Weighted"/> a weight [C] per class. Outputs: the loss (scalar, or one per target for reduction none); the
/// maximum m of every line and log sum exp(x - m), from which the backward pass makes the probabilities again; and the divisor
/// of the mean. (One number, m + log sum, would lose the digits that large logits take away.)
/// <para>
/// A target equal to <paramref name="IgnoreIndex"/> adds nothing. The mean divides by the sum of the weights of the targets that
/// count; it is NaN when none does. Label smoothing eps mixes the loss with the mean over all classes: (1 - eps) loss +
/// eps / C (sum over classes of the weighted -log softmax) (Szegedy et al. 2016, section 7). An index outside [0, C) makes the
/// loss NaN: a device cannot stop in the middle of a step.
/// </para>
/// </summary>
public sealed record CrossEntropyOp(Reduction Reduction, int IgnoreIndex, double LabelSmoothing, bool Weighted, bool Probabilities) : FusedOp
{
    internal static readonly OpSpec Spec = new("cross_entropy", "negative log-likelihood of softmax at the target")
    {
        Arguments = [new("input"), new("target"), new("weight", Optional: true, Differentiable: false)],
        Attributes =
        [
            Reductions.Attribute,
            new("ignore_index", -100.0, "target that adds nothing to loss and gradient"),
            new("label_smoothing", 0.0, "share of the uniform distribution in the target, 0 to 1"),
        ],
        Build = call => call.Output(F.CrossEntropy(
            call["input"], call["target"], call.Optional("weight"), Reductions.Read(call), call.Integer("ignore_index"), call.Number("label_smoothing"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(7, 10), ["target"] = Sample.Index(10, 7) },
            new() { ["input"] = Sample.Normal(5, 37), ["target"] = Sample.Index(37, 5), ["weight"] = Sample.Uniform(0.2, 2, 37), Attributes = { ["label_smoothing"] = 0.1, ["ignore_index"] = 3 } },
            new() { ["input"] = Sample.Normal(3, 4, 5), ["target"] = Sample.Index(4, 3, 5), ["weight"] = Sample.Uniform(0.2, 2, 4), Attributes = { ["reduction"] = "sum", ["ignore_index"] = 1 } },
            new() { ["input"] = Sample.Normal(2, 6, 3, 7), ["target"] = Sample.Index(6, 2, 3, 7), Attributes = { ["reduction"] = "none", ["label_smoothing"] = 0.3, ["ignore_index"] = 2 } },
            new() { ["input"] = Sample.Normal(9), ["target"] = Sample.Index(9), Attributes = { ["reduction"] = "mean" } },
            new() { ["input"] = Sample.Normal(6, 5), ["target"] = Sample.Uniform(0, 1, 6, 5), ["weight"] = Sample.Uniform(0.2, 2, 5), Attributes = { ["label_smoothing"] = 0.2 } },
            new() { ["input"] = Sample.Normal(3, 4, 5), ["target"] = Sample.Uniform(0, 1, 3, 4, 5), Attributes = { ["reduction"] = "none" } },
        ],
    };

    public override string Name => "cross_entropy";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, target) = (inputs[0], inputs[1]);
        if (!x.DType.IsFloat() || x.Shape.Rank < 1) throw Mismatch(Name, "float logits [C] or [N, C, ...]", inputs);
        var lines = Lines(x.Shape);
        if (Probabilities ? target != x : target.DType is not (DType.I32 or DType.I64) || target.Shape != lines)
        {
            throw new ShapeException(
                $"{Name}: logits {x} need as target either class indices (i64 or i32) of shape {lines} or class probabilities {x}, but got {target}.");
        }

        if (Weighted && inputs[2] != new TensorType(x.DType, [x.Shape[ClassAxis(x.Shape)]]))
            throw new ShapeException($"{Name}: logits {x} have {x.Shape[ClassAxis(x.Shape)]} classes and need a weight {x.DType.Label()}[{x.Shape[ClassAxis(x.Shape)]}], but got {inputs[2]}.");
        return [x with { Shape = Reduction == Reduction.None ? lines : Shape.Scalar }, x with { Shape = lines }, x with { Shape = lines }, x with { Shape = Shape.Scalar }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var x = inputs[0];
        var (axis, lines) = (ClassAxis(x.Shape), Lines(x.Shape));
        var max = F.Detach(F.Amax(x, [axis]));
        var shifted = x - max;
        var logSum = F.Log(F.Sum(F.Exp(shifted), [axis]));
        var (loss, divisor) = NegativeLogLikelihood.Of(shifted - logSum, inputs[1], Weighted ? inputs[2] : null, this);
        return [loss, F.Reshape(max, lines), F.Reshape(logSum, lines), divisor];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        // Gradients into the other outputs only arise in second derivatives; the decomposition handles them.
        if (outputGradients.Skip(1).Any(g => g is not null)) return Autodiff.ThroughDecomposition(this, node, outputGradients);
        var result = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return result;
        var y = node.Outputs;
        result[0] = new CrossEntropyBackwardOp(this).Apply([g, .. node.Inputs, y[1], y[2], y[3]]).Outputs[0];
        // The gradient of probabilities is rarely wanted; where nobody reads it, these nodes vanish. Weights have none, as in torch.
        if (Probabilities) result[1] = Autodiff.ThroughDecomposition(this, node, outputGradients)[1];
        return result;
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 4 * node.Inputs[0].Type.Elements);

    internal static int ClassAxis(Shape logits) => logits.Rank == 1 ? 0 : 1;

    /// <summary>The logits' shape without the class axis.</summary>
    internal static Shape Lines(Shape logits)
    {
        var axis = ClassAxis(logits);
        return new Shape([.. logits.Where((_, i) => i != axis)]);
    }
}

/// <summary>
/// dlogits of <see cref="CrossEntropyOp"/>: inputs (dloss, logits, target, weight if Weighted, maximum, log-sum, divisor). With the
/// coefficients k_c of -log softmax_c in the loss, it is softmax sum(k) - k, times dloss.
/// </summary>
public sealed record CrossEntropyBackwardOp(CrossEntropyOp Of) : FusedOp
{
    public override string Name => "cross_entropy_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => inputs.Count == (Of.Weighted ? 7 : 6)
        ? [inputs[1]]
        : throw Mismatch(Name, "dloss, the inputs of cross_entropy, and its outputs but the loss", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, target, weight) = (inputs[1], inputs[2], Of.Weighted ? inputs[3] : null);
        var axis = CrossEntropyOp.ClassAxis(x.Shape);
        Shape column = x.Shape.With(axis, 1);
        var k = NegativeLogLikelihood.Coefficients(x, target, weight, Of);
        var p = F.Exp(x - F.Reshape(inputs[^3], column) - F.Reshape(inputs[^2], column));
        var g = Of.Reduction switch
        {
            Reduction.Mean => inputs[0] / inputs[^1],
            Reduction.Sum => inputs[0],
            _ => F.Reshape(inputs[0], column),
        };
        var dx = (p * F.Sum(k, [axis]) - k) * g;
        // Not a product with 0: the mean over nothing but ignored targets is NaN, their gradients are 0.
        if (!Of.Probabilities) dx = F.Where(NegativeLogLikelihood.Ignored(x, target, Of), F.Scalar(0, x.DType), dx);
        return [dx];
    }

    public override int InPlaceInput(int output) => 1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 6 * node.Inputs[1].Type.Elements);
}

public static partial class F
{
    /// <summary>
    /// Cross entropy of logits [C] or [N, C, d1, ...] with class indices [] or [N, d1, ...] or with class probabilities of the
    /// logits' shape; see <see cref="CrossEntropyOp"/>.
    /// </summary>
    /// <param name="input">The logits.</param>
    /// <param name="target">Indices (i32, i64) or probabilities (the logits' dtype).</param>
    /// <param name="weight">One factor per class.</param>
    /// <param name="reduction">Mean, sum or one loss per target.</param>
    /// <param name="ignoreIndex">Target index that adds nothing; not for probabilities.</param>
    /// <param name="labelSmoothing">Share of the uniform distribution in the target.</param>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    /// <exception cref="UserException">The smoothing is outside [0, 1], or ignore_index is given with probabilities.</exception>
    public static Tensor CrossEntropy(
        Tensor input, Tensor target, Tensor? weight = null, Reduction reduction = Reduction.Mean, int ignoreIndex = -100, double labelSmoothing = 0)
    {
        var probabilities = target.DType.IsFloat();
        if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
            throw new UserException($"cross_entropy: label_smoothing must lie between 0 and 1, but is {labelSmoothing}.");
        if (probabilities && ignoreIndex >= 0)
            throw new UserException($"cross_entropy: ignore_index ({ignoreIndex}) is for class indices, but the target holds class probabilities; leave it out.");
        var op = new CrossEntropyOp(reduction, ignoreIndex, labelSmoothing, weight is not null, probabilities);
        return op.Apply(weight is null ? [input, target] : [input, target, weight]).Outputs[0];
    }
}
