using GpuEngine.Core.Graph;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab.Measure;

/// <summary>
/// What the same training step would need in PyTorch's eager mode, by formula: weights + gradients + optimizer state + the batch + what autograd
/// saves + the largest gradients alive at once in one backward function. Workspaces of libraries and the allocator's slack are not counted, so
/// the figure is on the low side.
/// </summary>
/// <remarks>
/// What autograd saves is read off PyTorch's tools/autograd/derivatives.yaml, per forward op: convolution and linear their input; batch_norm
/// and the other norms their input and two statistics; relu, sigmoid, tanh, softmax their result; other activations their input; max_pool2d its
/// input and i64 indices; avg_pool2d its input; dropout a mask of one byte per element; cross_entropy the log-probabilities; a product of two
/// tensors both; sums, views, padding and means nothing. A tensor that several ops save counts once. With bf16 (torch.autocast) also a bf16 copy
/// of every weight that a layer computes with.
/// </remarks>
public sealed record TorchEagerMemory(long Weights, long Gradients, long Optimizer, long Inputs, long Saved, long Transient)
{
    public long Total => Weights + Gradients + Optimizer + Inputs + Saved + Transient;

    /// <param name="model">The model's variables.</param>
    /// <param name="inputShape">[N, C, H, W].</param>
    /// <param name="loss">The training loss.</param>
    /// <param name="compute">f32, or bf16 for autocast.</param>
    /// <param name="states">State tensors of the optimizer per parameter.</param>
    public static TorchEagerMemory Of(ModelVariables model, Shape inputShape, LossFunction loss, DType compute, int states)
    {
        var input = F.Input("input", DType.F32, inputShape);
        var target = F.Input("target", DType.I32, [inputShape[0]]);
        var trace = model.NewTrace(true, compute, new Variable("generator", DType.I64, [2], MemoryClass.Inputs).Value);
        var logits = F.Cast(model.Model.Forward(F.Cast(input, compute), trace), DType.F32);
        var nodes = Traversal.Ancestors([loss.Mean(logits, target)]);
        var dependent = new HashSet<Node>();
        var (saved, extra, transient) = (new HashSet<Tensor>(), 0L, 0L);
        foreach (var node in nodes)
        {
            if (node.Op is not InputOp && !node.Inputs.Any(t => dependent.Contains(t.Node))) continue;
            dependent.Add(node);
            if (node.Op is Leaf) continue;
            foreach (var tensor in Saves(node).Where(t => dependent.Contains(t.Node) && t.DType.IsFloat())) saved.Add(Storage(tensor));
            extra += ExtraBytes(node);
            transient = Math.Max(transient, node.Outputs[0].Type.Bytes + node.Inputs.Where(t => dependent.Contains(t.Node) && t.DType.IsFloat()).Sum(t => t.Type.Bytes));
        }

        saved.Remove(input);
        var parameters = model.Slots.Sum(s => s.Parameter.Shape.Elements);
        if (compute == DType.BF16) extra += trace.Used.Sum(u => u.Where(t => t.DType == DType.BF16).Sum(t => t.Type.Bytes));
        return new TorchEagerMemory(
            (4 * parameters) + model.Buffers.Sum(b => b.Variable.Type.Bytes), 4 * parameters, 4 * states * parameters,
            input.Type.Bytes + target.Type.Elements * sizeof(long), saved.Sum(t => t.Type.Bytes) + extra, transient);
    }

    /// <summary>The activations that autograd keeps for a node.</summary>
    private static IEnumerable<Tensor> Saves(Node node) => node.Op switch
    {
        Conv2dOp or ConvolutionOp or LinearOp or EmbeddingOp => [node.Inputs[0]],
        MatMulOp => node.Inputs,
        Relu or Tanh or Sigmoid or SoftmaxOp => [node.Outputs[0]],
        BatchNormOp or RowNormOp or Activation or MaxPoolOp => [node.Inputs[0]],
        AdaptiveAvgPool2dOp { OutputSize: [1, 1] } => [],
        AveragingOp => [node.Inputs[0]],
        BinaryOp { Kind: BinaryKind.Add or BinaryKind.Sub } or CastOp or ReshapeOp or PermuteOp or SliceOp or PadOp or ConcatOp or BroadcastToOp or DropoutOp
            or ReduceOp { Kind: ReduceKind.Sum } or CrossEntropyOp or DetachOp => [],
        // A factor that is a constant or a parameter of one element saves nothing of it, but the other factor only if it is learned.
        BinaryOp => node.Inputs.Any(t => t.Type.Elements == 1) ? [] : node.Inputs,
        _ => node.Inputs,
    };

    /// <summary>The tensor that a view shows: the two are one storage.</summary>
    private static Tensor Storage(Tensor tensor)
    {
        while (tensor.Node.Op is ReshapeOp or DetachOp) tensor = tensor.Node.Inputs[0];
        return tensor;
    }

    /// <summary>What is kept that is no tensor of the graph.</summary>
    private static long ExtraBytes(Node node) => node.Op switch
    {
        BatchNormOp => 2 * node.Outputs[1].Type.Bytes,
        MaxPoolOp => node.Outputs[0].Type.Elements * sizeof(long),
        DropoutOp => node.Outputs[0].Type.Elements,
        CrossEntropyOp => node.Inputs[0].Type.Bytes,
        // Squares, the energies and their power: what the composite function's own steps save.
        LocalResponseNormOp => 3 * node.Outputs[0].Type.Bytes,
        _ => 0,
    };
}
