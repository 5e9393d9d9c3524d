using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// batch_norm.cu and batch_norm_backward.cu for f32 and bf16. One launch where a block can hold its slice of channels in
/// registers, else statistics of pieces and a second launch. Which one depends on the shape alone, so results do not depend on the device.
/// </summary>
internal static class BatchNormLauncher
{
    /// <summary>Positions a thread keeps in registers; the backward pass keeps two or three tensors of each.</summary>
    private const int ForwardHeld = 16;
    private const int BackwardHeld = 8;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (BatchNormOp)node.Op;
        if (ForwardMacros(node) is not { } macros) return null;
        var x = node.Inputs[0];
        Tensor[] vectors = op.Residual ? [x, node.Inputs[^1]] : [x];
        var held = op.Training ? ForwardHeld : 1;
        var tile = Tile(x, vectors, held);
        var defines = tile.Defines(macros);
        KernelRequest Request(string entry) => new("batch_norm.cu", entry) { Defines = defines };
        if (op.Training && tile.IsHeld)
            return new PlannedKernel(node, new LaunchStep(Request("batch_norm_forward"), tile.Whole, ForwardOperands(op), tile.Sizes));
        var apply = new LaunchStep(Request("batch_norm_apply"), tile.Pieces, ForwardOperands(op), tile.PieceSizes);
        if (!op.Training) return new PlannedKernel(node, apply);
        var (running, has) = (FirstRunning(op), op.Running);
        var statistics = new LaunchStep(
            Request("batch_norm_statistics"), tile.Pieces,
            [
                Operand.Out(1), Operand.Out(2), Operand.Out(3, has), Operand.Out(4, has), Operand.Scratch(), Operand.Counter, Operand.In(0),
                Operand.In(running, has), Operand.In(running + 1, has),
            ],
            tile.PieceSizes);
        return new PlannedKernel(node, statistics, apply)
        {
            ScratchBytes = tile.PieceCount * tile.Channels * 3 * sizeof(float),
            ExactCost = node.Op.Cost(node) + new Cost(x.Type.Bytes, 0, 0) + tile.PieceCost(3, apply: 4),
        };
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = (BatchNormBackwardOp)node.Op;
        if (BackwardMacros(node) is not { } macros) return null;
        var x = node.Inputs[1];
        Tensor[] vectors = op.Residual ? [node.Inputs[0], x, node.Inputs[^1]] : [node.Inputs[0], x];
        var tile = Tile(x, vectors, BackwardHeld);
        var defines = tile.Defines(macros);
        KernelRequest Request(string entry) => new("batch_norm_backward.cu", entry) { Defines = defines };
        if (tile.IsHeld)
            return new PlannedKernel(node, new LaunchStep(Request("batch_norm_backward"), tile.Whole, BackwardOperands(op, node), tile.Sizes));
        Operand[] inputs = BackwardInputs(op, node);
        // The sums lie before the partial ones.
        var sumBytes = tile.Channels * 2 * sizeof(float);
        var sums = new LaunchStep(
            Request("batch_norm_backward_sums"), tile.Pieces,
            [Operand.Scratch(), Operand.Out(1, op.Affine), Operand.Out(2, op.Affine), Operand.Scratch(sumBytes), Operand.Counter, .. inputs],
            tile.PieceSizes);
        var apply = new LaunchStep(
            Request("batch_norm_backward_apply"), tile.Pieces,
            [Operand.Out(0), Operand.Out(node.Outputs.Count - 1, op.Residual), Operand.Scratch(), .. inputs], tile.PieceSizes);
        var again = vectors.Sum(t => t.Type.Bytes);
        // In evaluation without parameters there is nothing to sum.
        if (!op.Training && !op.Affine) return new PlannedKernel(node, apply) { ScratchBytes = sumBytes };
        return new PlannedKernel(node, sums, apply)
        {
            ScratchBytes = sumBytes * (1 + tile.PieceCount),
            ExactCost = node.Op.Cost(node) + new Cost(again, 0, 0) + tile.PieceCost(2, apply: 10),
        };
    }

    /// <summary>The naive variant, the second oracle: any shape, training only.</summary>
    public static CudaKernel? NaiveForward(Node node, CudaLimits limits)
    {
        var op = (BatchNormOp)node.Op;
        if (!op.Training || ForwardMacros(node) is not { } macros) return null;
        return Naive(node, node.Inputs[0], "batch_norm.cu", "batch_norm_naive", macros, ForwardOperands(op));
    }

    /// <inheritdoc cref="NaiveForward"/>
    public static CudaKernel? NaiveBackward(Node node, CudaLimits limits)
    {
        var op = (BatchNormBackwardOp)node.Op;
        if (BackwardMacros(node) is not { } macros) return null;
        return Naive(node, node.Inputs[1], "batch_norm_backward.cu", "batch_norm_backward_naive", macros, BackwardOperands(op, node));
    }

    private static PlannedKernel Naive(Node node, Tensor x, string file, string entry, (string, string)[] macros, Operand[] operands)
    {
        var request = new KernelRequest(file, entry) { Defines = [.. macros, KernelRequest.Define("VECTOR", 1)] };
        var shape = new LaunchShape(new Dim3((uint)x.Shape[1]), new Dim3(256));
        return new PlannedKernel(node, new LaunchStep(request, shape, operands, [x.Shape[0], x.Shape[1], x.Shape.Product(2, x.Rank)]));
    }

    private static Operand[] ForwardOperands(BatchNormOp op)
    {
        var (running, has) = (FirstRunning(op), op.Running);
        return
        [
            Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3, has), Operand.Out(4, has), Operand.In(0), Operand.In(1, op.Affine),
            Operand.In(2, op.Affine), Operand.In(running, has), Operand.In(running + 1, has), Operand.In(running + (has ? 2 : 0), op.Residual),
        ];
    }

    private static Operand[] BackwardOperands(BatchNormBackwardOp op, Node node) =>
    [
        Operand.Out(0), Operand.Out(1, op.Affine), Operand.Out(2, op.Affine), Operand.Out(node.Outputs.Count - 1, op.Residual),
        .. BackwardInputs(op, node),
    ];

    private static Operand[] BackwardInputs(BatchNormBackwardOp op, Node node) =>
    [
        Operand.In(0), Operand.In(1), Operand.In(2), Operand.In(3), Operand.In(4, op.Affine),
        Operand.In(5, op.Affine && op.Activation is not null), Operand.In(node.Inputs.Count - 1, op.Residual),
    ];

    /// <summary>The constants of a forward kernel without its tile; null where the kernels do not fit.</summary>
    private static (string, string)[]? ForwardMacros(Node node)
    {
        var op = (BatchNormOp)node.Op;
        var x = node.Inputs[0].Type;
        if (!Fits(x) || ActivationMacros.Of(op.Activation) is not { } activation) return null;
        if (op.Affine && node.Inputs[1].DType != node.Inputs[2].DType) return null;
        if (op.Running && (node.Inputs[FirstRunning(op)].DType != DType.F32 || node.Inputs[FirstRunning(op) + 1].DType != DType.F32)) return null;
        var weight = op.Affine ? node.Inputs[1].DType : DType.F32;
        if (weight == DType.F64) return null;
        return
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("PARAM_DTYPE", weight), Flag("AFFINE", op.Affine), Flag("RESIDUAL", op.Residual),
            Flag("RUNNING", op.Running), Flag("TRAINING", op.Training), Flag("UNBIASED", op.UnbiasedRunning),
            KernelRequest.Define("MOMENTUM", (float)op.Momentum), KernelRequest.Define("EPS", (float)op.Eps), .. activation,
        ];
    }

    /// <inheritdoc cref="ForwardMacros"/>
    private static (string, string)[]? BackwardMacros(Node node)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var x = node.Inputs[1].Type;
        if (!Fits(x) || ActivationMacros.Of(op.Activation) is not { } activation) return null;
        var weight = op.Affine ? node.Inputs[4].DType : DType.F32;
        if (weight == DType.F64 || (op.Affine && op.Activation is not null && node.Inputs[5].DType != weight)) return null;
        // The identity is no activation to the kernel, but the op then still has the operands of one.
        if (op.Residual && op.Activation is null or Identity) return null;
        return
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("PARAM_DTYPE", weight), Flag("AFFINE", op.Affine), Flag("RESIDUAL", op.Residual),
            Flag("TRAINING", op.Training), .. activation,
        ];
    }

    private static ChannelTile Tile(Tensor x, Tensor[] vectors, int held) =>
        ChannelTile.Of(x.Shape[0], x.Shape[1], x.Shape.Product(2, x.Rank), x.DType, vectors, held);

    /// <summary>Where running_mean stands among the inputs.</summary>
    private static int FirstRunning(BatchNormOp op) => op.Affine ? 3 : 1;

    private static bool Fits(TensorType x) => x.DType is DType.F32 or DType.BF16 && x.Elements > 0;

    private static (string, string) Flag(string name, bool value) => KernelRequest.Define(name, value ? 1 : 0);
}
