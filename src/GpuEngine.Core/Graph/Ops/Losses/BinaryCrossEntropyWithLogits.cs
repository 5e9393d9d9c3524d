namespace GpuEngine.Core.Graph;

/// <summary>
/// Binary cross entropy of a probability sigmoid(x) with a target in [0, 1]: (1 - t) x + log(1 + exp(-x)), the logarithm as
/// max(-x, 0) + log1p(exp(-|x|)), which never overflows.
/// </summary>
public sealed record BinaryCrossEntropyWithLogits(Reduction Reduction = Reduction.Mean) : PointwiseLoss(Reduction)
{
    internal static readonly OpSpec Spec = new("binary_cross_entropy_with_logits", "negative log-likelihood of a sigmoid")
    {
        Arguments = [new("input"), new("target"), new("weight", Optional: true), new("pos_weight", Optional: true)],
        Attributes = [Reductions.Attribute],
        Build = call => call.Output(F.BinaryCrossEntropyWithLogits(
            call["input"], call["target"], call.Optional("weight"), call.Optional("pos_weight"), Reductions.Read(call))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(5, 7), ["target"] = Sample.Uniform(0, 1, 5, 7) },
            new() { ["input"] = Sample.Uniform(-30, 30, 3, 19), ["target"] = Sample.Uniform(0, 1, 3, 19), Attributes = { ["reduction"] = "sum" } },
            new() { ["input"] = Sample.Normal(5, 7), ["target"] = Sample.Uniform(0, 1, 5, 7), ["weight"] = Sample.Uniform(0, 2, 7), ["pos_weight"] = Sample.Uniform(0, 2, 7), Attributes = { ["reduction"] = "none" } },
            new() { ["input"] = Sample.Normal(6), ["target"] = Sample.Uniform(0, 1, 6), ["pos_weight"] = Sample.Uniform(0, 2, 6) },
        ],
    };

    public override string Name => "binary_cross_entropy_with_logits";

    public override Tensor Define(Tensor x, Tensor target) => (1 - target) * x + Softplus.Stable(-x);

    public override Tensor Derivative(Tensor x, Tensor target) => F.Unary(UnaryKind.Sigmoid, x) - target;

    public override Tensor TargetDerivative(Tensor x, Tensor target) => -x;
}

public static partial class F
{
    /// <summary>
    /// Binary cross entropy of logits; <paramref name="weight"/> multiplies each loss and <paramref name="posWeight"/> the part of the
    /// positive class, both broadcast to the input's shape.
    /// </summary>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static Tensor BinaryCrossEntropyWithLogits(
        Tensor input, Tensor target, Tensor? weight = null, Tensor? posWeight = null, Reduction reduction = Reduction.Mean)
    {
        if (target.Type != input.Type)
            throw new ShapeException($"binary_cross_entropy_with_logits: the target must have the type of the input, {input.Type}, but is {target.Type}.");
        var plain = new BinaryCrossEntropyWithLogits(weight is null && posWeight is null ? reduction : Reduction.None);
        if (weight is null && posWeight is null) return plain.Apply(input, target).Outputs[0];
        var loss = posWeight is null
            ? plain.Apply(input, target).Outputs[0]
            : (1 - target) * input + ((posWeight - 1) * target + 1) * Softplus(-input, 1, double.PositiveInfinity);
        return Reductions.Apply(reduction, weight is null ? loss : loss * weight);
    }
}
