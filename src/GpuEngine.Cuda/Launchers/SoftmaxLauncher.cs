using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// softmax.cu: softmax and log_softmax, forward and backward, for f32 and bf16. A line that fits into registers is read once:
/// rows by a part of a warp (up to 32 x 8 vectors) or a block, lines across places by one thread; the others twice.
/// Variants: "naive" (twice). Tunable: "threads" of a block that shares a row (256, 512, 1024).
/// </summary>
internal static class SoftmaxLauncher
{
    private const int NaiveThreads = 256;
    private const int WarpSize = 32;

    /// <summary>Vectors of 16 bytes that a thread may hold of a row, per tensor.</summary>
    private const int MostHeld = 8;

    /// <summary>Registers that lines across places may take.</summary>
    private const int PlaceRegisters = 64;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (SoftmaxOp)node.Op;
        return Create(node, limits, "softmax_forward", op.Dim, op.Log, [Operand.Out(0), Operand.In(0)]);
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = (SoftmaxBackwardOp)node.Op;
        return Create(node, limits, "softmax_backward", op.Dim, op.Log, [Operand.Out(0), Operand.In(0), Operand.In(1)]);
    }

    private static PlannedKernel? Create(Node node, CudaLimits limits, string entry, int dim, bool log, Operand[] operands)
    {
        var x = node.Inputs[0];
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0) return null;
        var (classes, length) = (x.Shape[dim], x.Shape.Product(dim + 1, x.Rank));
        (string, string)[] macros = [KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("LOG", log ? 1 : 0)];
        return (limits.Variant == "naive" ? null : length == 1
                ? Rows(node, limits, entry, classes, macros, operands)
                : Places(node, limits, entry, classes, length, macros, operands))
            ?? Naive(node, limits, entry, classes, length, macros, operands);
    }

    private static PlannedKernel? Rows(Node node, CudaLimits limits, string entry, int classes, (string, string)[] macros, Operand[] operands)
    {
        var x = node.Inputs[0];
        var vector = VectorWidth.Dividing(x.DType, classes, node.Inputs);
        var vectors = (classes + vector - 1) / vector;
        var (threads, lanes) = (NaiveThreads, (int)BitOperations.RoundUpToPowerOf2((uint)vectors));
        if (lanes > WarpSize) lanes = WarpSize;
        if (vectors > lanes * MostHeld)
        {
            // A block of 1024 has 64 registers per thread: room for one tensor, not for two.
            var widest = node.Inputs.Count > 1 ? 512 : 1024;
            while (threads < widest && vectors > threads * MostHeld / 2) threads *= 2;
            threads = limits.Tuned("threads", threads);
            lanes = threads;
        }

        var held = (vectors + lanes - 1) / lanes;
        if (held > MostHeld) return null;
        var rows = x.Type.Elements / classes;
        (string, string)[] defines =
        [
            .. macros, KernelRequest.Define("VECTOR", vector), KernelRequest.Define("LANES", lanes), KernelRequest.Define("HELD", held),
            KernelRequest.Define("THREADS", threads),
        ];
        return One(node, entry + "_rows", defines, limits.Blocks(rows * lanes, threads, waves: 16), threads, operands, rows, classes);
    }

    private static PlannedKernel? Places(
        Node node, CudaLimits limits, string entry, int classes, long length, (string, string)[] macros, Operand[] operands)
    {
        var x = node.Inputs[0];
        var vector = VectorWidth.Dividing(x.DType, length, node.Inputs);
        var held = classes * node.Inputs.Count;
        // Two elements of bf16 share a register; one alone takes a whole one.
        while (vector > 1 && held * Math.Max(1, vector * x.DType.Size() / 4) > PlaceRegisters) vector /= 2;
        if (held > PlaceRegisters) return null;
        var vectors = x.Type.Elements / classes / vector;
        (string, string)[] defines = [.. macros, KernelRequest.Define("VECTOR", vector), KernelRequest.Define("HELD", classes)];
        return One(node, entry + "_places", defines, limits.Blocks(vectors, NaiveThreads, waves: 8), NaiveThreads, operands, vectors, length);
    }

    private static PlannedKernel Naive(
        Node node, CudaLimits limits, string entry, int classes, long length, (string, string)[] macros, Operand[] operands)
    {
        var lines = node.Inputs[0].Type.Elements / classes;
        var lanes = length > 1 ? 1 : classes <= 2048 ? WarpSize : NaiveThreads;
        (string, string)[] defines = [.. macros, KernelRequest.Define("LANES", lanes)];
        var blocks = limits.Blocks(lines * lanes, NaiveThreads);
        // Every input is read twice.
        return One(
            node, entry + "_naive", defines, blocks, NaiveThreads, operands, node.Op.Cost(node) + new Cost(node.Inputs.Sum(t => t.Type.Bytes), 0, 0),
            lines, classes, length);
    }

    private static PlannedKernel One(
        Node node, string entry, (string, string)[] defines, int blocks, int threads, Operand[] operands, params long[] sizes) =>
        One(node, entry, defines, blocks, threads, operands, node.Op.Cost(node), sizes);

    private static PlannedKernel One(
        Node node, string entry, (string, string)[] defines, int blocks, int threads, Operand[] operands, Cost cost, params long[] sizes) => new(
        node,
        new LaunchStep(
            new KernelRequest("softmax.cu", entry) { Defines = defines }, new LaunchShape(new Dim3((uint)blocks), new Dim3((uint)threads)), operands, sizes))
        {
            ExactCost = cost,
        };
}
