using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>row_norm_naive.cu: rows of any length, dx and the parameters in launches of their own.</summary>
internal static class RowNormNaiveLauncher
{
    private const string File = "row_norm_naive.cu";
    private const int Threads = 256;

    /// <summary>Vectors of a row that a thread keeps in registers.</summary>
    private const int MostHeld = 8;

    public static PlannedKernel Forward(Node node, RowLayout layout, RowNormMacros macros, CudaLimits limits)
    {
        var op = (RowNormOp)node.Op;
        var x = node.Inputs[0];
        var (row, lanes, defines) = Defines(x, layout, [x], macros);
        var step = new LaunchStep(
            new KernelRequest(File, "row_norm_naive_forward") { Defines = defines }, Rows(layout, lanes, limits),
            [
                Operand.Out(0), Operand.Out(1, op.Centred), Operand.Out(op.Centred ? 2 : 1), Operand.In(0), Operand.In(1, op.Affine),
                Operand.In(2, op.Affine && op.Centred),
            ],
            [layout.Rows, layout.Groups, layout.Units, layout.Inner]);
        var again = row > (long)lanes * MostHeld ? x.Type.Bytes : 0;
        return new PlannedKernel(node, step) { ExactCost = op.Cost(node) + new Cost(again, 0, 0) };
    }

    public static PlannedKernel Backward(Node node, RowLayout layout, RowNormMacros macros, CudaLimits limits)
    {
        var op = ((RowNormBackwardOp)node.Op).Of;
        var x = node.Inputs[1];
        var invstd = op.Centred ? 3 : 2;
        var (row, lanes, defines) = Defines(x, layout, [node.Inputs[0], x], macros);
        Operand[] inputs =
        [
            Operand.In(0), Operand.In(1), Operand.In(2, op.Centred), Operand.In(invstd), Operand.In(invstd + 1, op.Affine),
            Operand.In(invstd + 2, op.Affine && op.Centred && op.Activation is not null),
        ];
        var rows = new LaunchStep(
            new KernelRequest(File, "row_norm_naive_backward") { Defines = defines }, Rows(layout, lanes, limits), [Operand.Out(0), .. inputs],
            [layout.Rows, layout.Groups, layout.Units, layout.Inner]);
        var again = row > (long)lanes * MostHeld ? 2 * x.Type.Bytes : 0;
        if (!op.Affine) return new PlannedKernel(node, rows) { ExactCost = node.Op.Cost(node) + new Cost(again, 0, 0) };
        var parameters = new LaunchStep(
            new KernelRequest(File, "row_norm_naive_parameters") { Defines = defines },
            new LaunchShape(new Dim3((uint)((layout.Parameters + 31) / 32)), new Dim3(Threads)),
            [Operand.Out(1), Operand.Out(2, op.Centred), .. inputs], [layout.Batch, layout.Groups, layout.Units, layout.Inner]);
        // The parameters first: dx may take the place of dy.
        return new PlannedKernel(node, parameters, rows) { ExactCost = node.Op.Cost(node) + new Cost(again + 2 * x.Type.Bytes, 0, 0) };
    }

    private static LaunchShape Rows(RowLayout layout, int lanes, CudaLimits limits) =>
        new(new Dim3((uint)limits.Blocks(layout.Rows * lanes, Threads)), new Dim3(Threads));

    /// <summary>Vectors of a row, the threads that share them, and the constants that say so.</summary>
    private static (long Vectors, int Lanes, (string, string)[] Defines) Defines(Tensor x, RowLayout layout, Tensor[] tensors, RowNormMacros macros)
    {
        var vector = VectorWidth.Dividing(x.DType, layout.Inner == 1 ? layout.Length : layout.Inner, tensors);
        var vectors = layout.Length / vector;
        var lanes = vectors <= 32 * MostHeld ? 32 : Threads;
        var held = (int)Math.Clamp((long)BitOperations.RoundUpToPowerOf2((ulong)((vectors + lanes - 1) / lanes)), 1, MostHeld);
        return (
            vectors, lanes,
            [
                .. macros.Defines.Where(m => m.Item1 is not ("WITH_BIAS" or "PARAM_ALIGNED")), KernelRequest.Define("LANES", lanes), KernelRequest.Define("HELD", held),
                KernelRequest.Define("VECTOR", vector), KernelRequest.Define("INNER_IS_1", layout.Inner == 1 ? 1 : 0), KernelRequest.Define("THREADS", Threads),
            ]);
    }
}
