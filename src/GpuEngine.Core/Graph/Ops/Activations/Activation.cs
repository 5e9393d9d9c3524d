namespace GpuEngine.Core.Graph;

/// <summary>
/// An element-wise activation without parameters of its own. A new one is a record of this kind: its formula, its derivative,
/// and a line in the catalog; the fused norm and linear ops, the layers and the command line then know it by name.
/// </summary>
public abstract record Activation : FusedOp
{
    /// <summary>The formula, as a graph.</summary>
    public abstract Tensor Define(Tensor x);

    /// <summary>dy/dx as a function of the input x; 0 is taken at kinks unless the op says otherwise.</summary>
    public abstract Tensor Derivative(Tensor x);

    /// <summary>
    /// Whether f(x) is positive exactly where x is and the slope depends on that alone, so that Derivative(y) is Derivative(x):
    /// the backward pass may then read the output in place of the input.
    /// </summary>
    public virtual bool SlopeFromOutput => false;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0].DType.IsFloat() ? [inputs[0]] : throw Mismatch(Name, "a float tensor", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) => [Define(inputs[0])];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new ActivationBackwardOp(this).Apply(g, node.Inputs[0]).Outputs[0] : null];

    public override int InPlaceInput(int output) => 0;

    /// <summary>Applies the activation.</summary>
    public Tensor On(Tensor x) => Apply(x).Outputs[0];
}

/// <summary>dx = dy * f'(x) in one pass: inputs (dy, x).</summary>
public sealed record ActivationBackwardOp(Activation Of) : FusedOp
{
    public override string Name => Of.Name + "_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0] == inputs[1] ? [inputs[0]] : throw Mismatch(Name, "two tensors of one type", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) => [inputs[0] * Of.Derivative(inputs[1])];

    public override int InPlaceInput(int output) => 0;
}
