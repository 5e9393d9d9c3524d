using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// Several element-wise primitives in one launch; made by <see cref="ElementwiseFusion"/> after lowering, so nobody
/// differentiates it.
/// </summary>
public sealed record ElementwiseRegionOp(ElementwiseProgram Program, Shape To, int InPlace) : Op
{
    public override string Name => "elementwise_region";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [new TensorType(Program.Output, To)];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        throw new InvalidOperationException("A region is formed after differentiation.");

    public override Cost Cost(Node node) =>
        Core.Graph.Cost.Streaming(
            node, node.Outputs[0].Type.Elements * Program.Steps.Count(s => s.Op is not (ConstantOp or BroadcastToOp or CastOp)));

    public override int InPlaceInput(int output) => InPlace;
}
