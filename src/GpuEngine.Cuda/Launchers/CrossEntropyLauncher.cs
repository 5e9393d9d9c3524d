using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>cross_entropy.cu: class indices, f32 and bf16 logits, forward in one launch.</summary>
internal static class CrossEntropyLauncher
{
    private const string File = "cross_entropy.cu";
    private const int Threads = 256;

    /// <summary>Most blocks, each of which leaves one partial sum.</summary>
    private const int MostBlocks = 2048;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (CrossEntropyOp)node.Op;
        var (x, target) = (node.Inputs[0], node.Inputs[1]);
        if (Defines(op, x, target) is not { } defines) return null;
        var (lines, classes, length, blocks) = Sizes(x);
        var step = new LaunchStep(
            new KernelRequest(File, "cross_entropy_forward") { Defines = defines }, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)),
            [
                Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3), Operand.Scratch(), Operand.Counter, Operand.In(0),
                Operand.In(1), Operand.In(2, op.Weighted),
            ],
            [lines, classes, length]);
        // The logit of the target and, with smoothing, all logits are read again; every block leaves two partial sums.
        var partial = blocks * 2 * sizeof(float);
        var again = lines * x.DType.Size() + (op.LabelSmoothing > 0 ? x.Type.Bytes : 0);
        return new PlannedKernel(node, step) { ScratchBytes = partial, ExactCost = op.Cost(node) + new Cost(again + partial, partial, 0) };
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = ((CrossEntropyBackwardOp)node.Op).Of;
        var (x, target) = (node.Inputs[1], node.Inputs[2]);
        if (Defines(op, x, target) is not { } defines) return null;
        var (lines, classes, length, blocks) = Sizes(x);
        var last = node.Inputs.Count - 1;
        return new PlannedKernel(node, new LaunchStep(
            new KernelRequest(File, "cross_entropy_backward") { Defines = defines }, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)),
            [
                Operand.Out(0), Operand.In(0), Operand.In(1), Operand.In(2), Operand.In(3, op.Weighted), Operand.In(last - 2),
                Operand.In(last - 1), Operand.In(last),
            ],
            [lines, classes, length]));
    }

    private static int ClassAxis(Tensor logits) => logits.Rank == 1 ? 0 : 1;

    private static int Lanes(Tensor x)
    {
        var axis = ClassAxis(x);
        return x.Shape.Product(axis + 1, x.Rank) > 1 ? 1 : x.Shape[axis] <= 2048 ? 32 : Threads;
    }

    private static (long Lines, long Classes, long Length, long Blocks) Sizes(Tensor x)
    {
        var axis = ClassAxis(x);
        var (classes, length) = (x.Shape[axis], x.Shape.Product(axis + 1, x.Rank));
        var lines = x.Type.Elements / classes;
        var perBlock = Threads / Lanes(x);
        return (lines, classes, length, Math.Min((lines + perBlock - 1) / perBlock, MostBlocks));
    }

    private static (string, string)[]? Defines(CrossEntropyOp op, Tensor x, Tensor target)
    {
        if (op.Probabilities || x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0) return null;
        return
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("INDEX_DTYPE", target.DType), KernelRequest.Define("LANES", Lanes(x)),
            KernelRequest.Define("REDUCTION", op.Reduction switch { Reduction.Mean => 0, Reduction.Sum => 1, _ => 2 }),
            KernelRequest.Define("WEIGHTED", op.Weighted ? 1 : 0), KernelRequest.Define("SMOOTHING", (float)op.LabelSmoothing),
            ("IGNORE_INDEX", $"({op.IgnoreIndex.ToString(CultureInfo.InvariantCulture)})"),
        ];
    }
}
