using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// row_norm.cu: layer_norm, group_norm, instance_norm (without running statistics) and rms_norm, for f32 and bf16.
/// </summary>
internal static class RowNormLauncher
{
    private const string File = "row_norm.cu";
    private const int Threads = 256;

    /// <summary>Vectors of a row that a thread keeps in registers.</summary>
    private const int MostHeld = 8;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (RowNormOp)node.Op;
        var x = node.Inputs[0];
        if (op is InstanceNormOp { Running: true } || op.Layout(x.Shape).ChannelsLast || Macros(op, x, Parameters(op, node, 1, withBias: true)) is not { } macros) return null;
        var (layout, affine) = (op.Layout(x.Shape), op.Affine);
        var (row, lanes, rowMacros) = RowMacros(x, layout, [x]);
        var step = new LaunchStep(
            new KernelRequest(File, "row_norm_forward") { Defines = [.. macros, .. rowMacros, KernelRequest.Define("VECTOR", 1)] },
            Rows(layout, lanes, limits),
            [
                Operand.Out(0), Operand.Out(1, op.Centred), Operand.Out(op.Centred ? 2 : 1), Operand.In(0), Operand.In(1, affine),
                Operand.In(2, affine && op.Centred),
            ],
            [layout.Rows, layout.Groups, layout.Units, layout.Inner]);
        var again = row > (long)lanes * MostHeld ? x.Type.Bytes : 0;
        return new PlannedKernel(node, step) { ExactCost = op.Cost(node) + new Cost(again, 0, 0) };
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = ((RowNormBackwardOp)node.Op).Of;
        var x = node.Inputs[1];
        if (op.Layout(x.Shape).ChannelsLast) return null;
        var invstd = op.Centred ? 3 : 2;
        var withBias = op.Centred && op.Activation is not null;
        if (Macros(op, x, Parameters(op, node, invstd + 1, withBias)) is not { } macros) return null;
        var layout = op.Layout(x.Shape);
        Tensor[] vectors = [node.Inputs[0], x];
        var (row, lanes, rowMacros) = RowMacros(x, layout, vectors);
        Operand[] inputs =
        [
            Operand.In(0), Operand.In(1), Operand.In(2, op.Centred), Operand.In(invstd), Operand.In(invstd + 1, op.Affine),
            Operand.In(invstd + 2, op.Affine && withBias),
        ];
        var batch = layout.Rows / layout.Groups;
        var tile = ChannelTile.Of(batch, layout.Parameters, layout.Inner, x.DType, vectors, 2) with { Threads = Threads };
        (string, string)[] defines = tile.Defines([.. macros, .. rowMacros]);
        // HELD is that of the rows: the parameter kernel holds nothing.
        defines = [.. defines.Where(d => d.Item1 != "HELD"), .. rowMacros.Where(d => d.Item1 == "HELD")];
        var rows = new LaunchStep(
            new KernelRequest(File, "row_norm_backward") { Defines = defines }, Rows(layout, lanes, limits), [Operand.Out(0), .. inputs],
            [layout.Rows, layout.Groups, layout.Units, layout.Inner]);
        var again = row > (long)lanes * MostHeld ? 2 * x.Type.Bytes : 0;
        if (!op.Affine) return new PlannedKernel(node, rows) { ExactCost = node.Op.Cost(node) + new Cost(again, 0, 0) };
        var parameters = new LaunchStep(
            new KernelRequest(File, "row_norm_parameters") { Defines = defines }, tile.Pieces,
            [Operand.Out(1), Operand.Out(2, op.Centred), Operand.Scratch(), Operand.Counter, .. inputs],
            [batch, layout.Parameters, layout.Inner, layout.Groups, layout.Units, tile.PieceSizes[^1]]);
        // The parameters first: dx may take the place of dy.
        return new PlannedKernel(node, parameters, rows)
        {
            ScratchBytes = tile.PieceCount * layout.Parameters * 2L * sizeof(float),
            ExactCost = node.Op.Cost(node) + new Cost(again + 2 * x.Type.Bytes, 0, 0),
        };
    }

    private static Tensor[] Parameters(RowNormOp op, Node node, int first, bool withBias) =>
        op.Affine ? [.. node.Inputs.Skip(first).Take(op.Centred && withBias ? 2 : 1)] : [];

    private static LaunchShape Rows(RowLayout layout, int lanes, CudaLimits limits) =>
        new(new Dim3((uint)limits.Blocks(layout.Rows * lanes, Threads)), new Dim3(Threads));

    /// <summary>The constants of the op; null where the kernels do not fit.</summary>
    private static (string, string)[]? Macros(RowNormOp op, Tensor x, Tensor[] parameters)
    {
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0 || ActivationMacros.Of(op.Activation) is not { } activation) return null;
        var dtype = parameters.Length > 0 ? parameters[0].DType : DType.F32;
        if (dtype == DType.F64 || parameters.Any(p => p.DType != dtype)) return null;
        return
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("PARAM_DTYPE", dtype), KernelRequest.Define("CENTRED", op.Centred ? 1 : 0),
            KernelRequest.Define("AFFINE", op.Affine ? 1 : 0), KernelRequest.Define("EPS", (float)op.Eps), .. activation,
        ];
    }

    /// <summary>Vectors of a row, the threads that share them, and the constants that say so.</summary>
    private static (long Vectors, int Lanes, (string, string)[] Macros) RowMacros(Tensor x, RowLayout layout, Tensor[] tensors)
    {
        var vector = VectorWidth.Dividing(x.DType, layout.Inner == 1 ? layout.Length : layout.Inner, tensors);
        var vectors = layout.Length / vector;
        var lanes = vectors <= 32 * MostHeld ? 32 : Threads;
        var held = (int)Math.Clamp((long)BitOperations.RoundUpToPowerOf2((ulong)((vectors + lanes - 1) / lanes)), 1, MostHeld);
        return (
            vectors, lanes,
            [
                KernelRequest.Define("LANES", lanes), KernelRequest.Define("HELD", held), KernelRequest.Define("ROW_VECTOR", vector),
                KernelRequest.Define("INNER_IS_1", layout.Inner == 1 ? 1 : 0), KernelRequest.Define("THREADS", Threads),
            ]);
    }
}
