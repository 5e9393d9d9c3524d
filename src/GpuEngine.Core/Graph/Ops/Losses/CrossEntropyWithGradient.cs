namespace GpuEngine.Core.Graph;

/// <summary>
/// <see cref="CrossEntropyOp"/> with class indices, its gradient and the number of right answers from one pass over the logits.
/// Inputs as there: logits [C] or [N, C, d1, ...], indices, and a weight [C] if <paramref name="Weighted"/>. Outputs: the loss (a
/// scalar: f64 for f64 logits, else f32), its gradient in the logits' type, for an upstream gradient of 1, and how many targets that
/// count are the first maximum of their line (i64). A line with a NaN, and so without a loss, is never right.
/// <para>
/// Training reaches it through <see cref="FuseCrossEntropy"/>. Second derivatives go through the decomposition, which is the plain op
/// and its backward op.
/// </para>
/// </summary>
/// <param name="Reduction">Mean or sum: with one loss per line there is no one upstream gradient.</param>
/// <param name="IgnoreIndex">Target that adds nothing.</param>
/// <param name="LabelSmoothing">Share of the uniform distribution in the target.</param>
/// <param name="Weighted">Whether there is a weight per class.</param>
public sealed record CrossEntropyWithGradientOp(Reduction Reduction, int IgnoreIndex, double LabelSmoothing, bool Weighted) : FusedOp
{
    internal static readonly OpSpec Spec = new("cross_entropy_with_gradient", "cross_entropy, its gradient and the right answers in one pass")
    {
        Arguments = [new("input"), new("target"), new("weight", Optional: true, Differentiable: false)],
        Attributes =
        [
            new("reduction", "mean", "mean or sum"),
            new("ignore_index", -100.0, "target that adds nothing to loss and gradient"),
            new("label_smoothing", 0.0, "share of the uniform distribution in the target, 0 to 1"),
        ],
        Differentiable = false,
        Build = call =>
        {
            var result = F.CrossEntropyWithGradient(
                call["input"], call["target"], call.Optional("weight"),
                call.Choice("reduction", ("mean", Reduction.Mean), ("sum", Reduction.Sum)), call.Integer("ignore_index"), call.Number("label_smoothing"));
            return [new("output", result.Loss), new("gradient", result.Gradient), new("correct", result.Correct)];
        },
        Samples =
        [
            new() { ["input"] = Sample.Normal(7, 10), ["target"] = Sample.Index(10, 7) },
            new() { ["input"] = Sample.Normal(5, 37), ["target"] = Sample.Index(37, 5), ["weight"] = Sample.Uniform(0.2, 2, 37), Attributes = { ["label_smoothing"] = 0.1, ["ignore_index"] = 3 } },
            new() { ["input"] = Sample.Normal(3, 4, 5), ["target"] = Sample.Index(4, 3, 5), ["weight"] = Sample.Uniform(0.2, 2, 4), Attributes = { ["reduction"] = "sum", ["ignore_index"] = 1 } },
            new() { ["input"] = Sample.Normal(9), ["target"] = Sample.Index(9) },
        ],
    };

    public override string Name => "cross_entropy_with_gradient";

    /// <summary>The op without its gradient.</summary>
    public CrossEntropyOp Plain => new(Reduction, IgnoreIndex, LabelSmoothing, Weighted, false);

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (Reduction == Reduction.None) throw new ShapeException($"{Name}: the reduction must be mean or sum.");
        var loss = Plain.Infer(inputs)[0];
        return [loss with { DType = Wide(loss.DType) }, inputs[0], new TensorType(DType.I64, Shape.Scalar)];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var target = inputs[1];
        var x = F.Cast(inputs[0], Wide(inputs[0].DType));
        Tensor[] wide = Weighted ? [x, target, F.Cast(inputs[2], x.DType)] : [x, target];
        var y = Plain.Apply(wide).Outputs;
        var dx = new CrossEntropyBackwardOp(Plain).Apply([F.Ones(Shape.Scalar, x.DType), .. wide, y[1], y[2], y[3]]).Outputs[0];
        return [y[0], F.Cast(dx, inputs[0].DType), Correct(x, target, y[2])];
    }

    /// <summary>The gradient lies where the logits were.</summary>
    public override int InPlaceInput(int output) => output == 1 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 8 * node.Inputs[0].Type.Elements);

    private Tensor Correct(Tensor x, Tensor target, Tensor logSum)
    {
        var axis = CrossEntropyOp.ClassAxis(x.Shape);
        // The maximum is looked for along the last axis: bring the classes there.
        var last = F.Permute(F.Detach(x), [.. Enumerable.Range(0, x.Rank).Where(a => a != axis), axis]);
        var found = F.Cast(F.Eq(F.Cast(F.ArgMax(last), target.DType), target), DType.I64);
        var counts = F.And(F.Ne(target, F.Scalar(IgnoreIndex, target.DType)), F.Eq(F.Detach(logSum), F.Detach(logSum)));
        return F.Sum(F.Where(counts, found, F.Scalar(0, DType.I64)));
    }

    private static DType Wide(DType dtype) => dtype == DType.F64 ? DType.F64 : DType.F32;
}

/// <summary>What <see cref="F.CrossEntropyWithGradient"/> finds.</summary>
/// <param name="Loss">The mean or the sum.</param>
/// <param name="Gradient">Its gradient by the logits.</param>
/// <param name="Correct">Targets that are the first maximum of their line, i64.</param>
public sealed record CrossEntropyResult(Tensor Loss, Tensor Gradient, Tensor Correct);

public static partial class F
{
    /// <summary>
    /// Cross entropy with class indices, its gradient by the logits for an upstream gradient of 1, and the number of right answers;
    /// see <see cref="CrossEntropyWithGradientOp"/>.
    /// </summary>
    /// <param name="input">Logits [C] or [N, C, d1, ...].</param>
    /// <param name="target">Indices (i32, i64) [] or [N, d1, ...].</param>
    /// <param name="weight">One factor per class.</param>
    /// <param name="reduction">Mean or sum.</param>
    /// <param name="ignoreIndex">Target index that adds nothing.</param>
    /// <param name="labelSmoothing">Share of the uniform distribution in the target.</param>
    /// <exception cref="ShapeException">The shapes do not fit, or the reduction is none.</exception>
    /// <exception cref="UserException">The smoothing is outside [0, 1].</exception>
    public static CrossEntropyResult CrossEntropyWithGradient(
        Tensor input, Tensor target, Tensor? weight = null, Reduction reduction = Reduction.Mean, int ignoreIndex = -100, double labelSmoothing = 0)
    {
        if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
            throw new UserException($"cross_entropy_with_gradient: label_smoothing must lie between 0 and 1, but is {labelSmoothing}.");
        var op = new CrossEntropyWithGradientOp(reduction, ignoreIndex, labelSmoothing, weight is not null);
        var y = op.Apply(weight is null ? [input, target] : [input, target, weight]).Outputs;
        return new CrossEntropyResult(y[0], y[1], y[2]);
    }
}
