namespace GpuEngine.Core.Graph;

/// <summary>A copy in storage of its own; the planner adds it where a variable's new value could not be produced in place.</summary>
public sealed record CopyOp : Primitive
{
    public override string Name => "copy";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [inputs[0]];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [outputGradients[0]];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 0);
}
