namespace GpuEngine.Core.Graph;

/// <summary>
/// A loss of two equally shaped float tensors, element by element and then reduced: inputs (input, target). A new one is a
/// record of this kind, with its formula, its two derivatives and a line in the catalog.
/// </summary>
public abstract record PointwiseLoss(Reduction Reduction) : FusedOp
{
    /// <summary>The loss of each element.</summary>
    public abstract Tensor Define(Tensor x, Tensor target);

    /// <summary>d loss / dx, element by element.</summary>
    public abstract Tensor Derivative(Tensor x, Tensor target);

    /// <summary>d loss / dtarget; of a function of the difference it is the negative of the other.</summary>
    public virtual Tensor TargetDerivative(Tensor x, Tensor target) => -Derivative(x, target);

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (!inputs[0].DType.IsFloat() || inputs[0] != inputs[1]) throw Mismatch(Name, "an input and a target of one float type", inputs);
        return [Reduction == Reduction.None ? inputs[0] : inputs[0] with { Shape = Shape.Scalar }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) => [Reductions.Apply(Reduction, Define(inputs[0], inputs[1]))];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return [null, null];
        var (x, target) = (node.Inputs[0], node.Inputs[1]);
        var share = Reduction == Reduction.Mean ? g * (1.0 / x.Type.Elements) : g;
        return [new PointwiseLossBackwardOp(this).Apply(g, x, target).Outputs[0], share * TargetDerivative(x, target)];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 3 * node.Inputs[0].Type.Elements);

    /// <summary>The entry of a loss with one more attribute than the reduction, or none.</summary>
    internal static OpSpec Entry(string name, string summary, IReadOnlyList<OpAttribute> attributes, Func<OpCall, PointwiseLoss> make) => new(name, summary)
    {
        Arguments = [new("input"), new("target")],
        Attributes = [Reductions.Attribute, .. attributes],
        Build = call => call.Output(F.Loss(make(call), call["input"], call["target"])),
        Samples =
        [
            new() { ["input"] = Sample.Normal(5, 7), ["target"] = Sample.Normal(5, 7) },
            new() { ["input"] = Sample.Normal(3, 17, 3), ["target"] = Sample.Normal(3, 17, 3), Attributes = { ["reduction"] = "sum" } },
            new() { ["input"] = Sample.Normal(35), ["target"] = Sample.Normal(35), Attributes = { ["reduction"] = "none" } },
        ],
    };
}

/// <summary>dx of a <see cref="PointwiseLoss"/>: inputs (dloss, x, target).</summary>
public sealed record PointwiseLossBackwardOp(PointwiseLoss Of) : FusedOp
{
    public override string Name => Of.Name + "_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => Of.Infer([inputs[1], inputs[2]])[0] == inputs[0]
        ? [inputs[1]]
        : throw Mismatch(Name, "dloss, input and target", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (g, x) = (inputs[0], inputs[1]);
        return [Of.Derivative(x, inputs[2]) * (Of.Reduction == Reduction.Mean ? g * (1.0 / x.Type.Elements) : g)];
    }

    public override int InPlaceInput(int output) => 1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 3 * node.Inputs[1].Type.Elements);
}

public static partial class F
{
    /// <summary>An element-wise loss; unequal shapes are broadcast, as in torch.</summary>
    /// <exception cref="ShapeException">The shapes cannot be broadcast together, or the dtypes differ.</exception>
    public static Tensor Loss(PointwiseLoss loss, Tensor input, Tensor target)
    {
        var shape = Shape.Broadcast(input.Shape, target.Shape, loss.Name);
        return loss.Apply(BroadcastTo(input, shape), BroadcastTo(target, shape)).Outputs[0];
    }
}
