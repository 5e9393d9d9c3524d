using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// layer_norm, group_norm, instance_norm and rms_norm, for f32 and bf16: row_norm.cu and
/// row_norm_backward.cu where a row fits into the registers of a block or a cluster, else, or by name, row_norm_naive.cu.
/// </summary>
internal static class RowNormLauncher
{
    private const string ForwardFile = "row_norm.cu";
    private const string BackwardFile = "row_norm_backward.cu";

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (RowNormOp)node.Op;
        var x = node.Inputs[0];
        if (RowNormMacros.Of(op, x, Parameters(op, node, 1, withBias: true)) is not { } macros) return null;
        var layout = op.Layout(x.Shape);
        if (op is not InstanceNormOp { Running: true } instance) return Normalise(node, layout, macros, limits);
        var running = op.Affine ? 3 : 1;
        if (node.Inputs[running].DType != DType.F32 || node.Inputs[running + 1].DType != DType.F32) return null;
        var main = Normalise(node, layout, macros, limits);
        var request = new KernelRequest(ForwardFile, "instance_norm_running")
        {
            Defines = [KernelRequest.Define("EPS", (float)op.Eps), KernelRequest.Define("MOMENTUM", (float)instance.Momentum)],
        };
        var update = new LaunchStep(
            request, new LaunchShape(new Dim3((uint)((layout.Parameters + 255) / 256)), new Dim3(256)),
            [Operand.Out(3), Operand.Out(4), Operand.Out(1), Operand.Out(2), Operand.In(running), Operand.In(running + 1)],
            [layout.Batch, layout.Parameters, layout.Length]);
        return new PlannedKernel(node, [.. main.Steps, update])
        {
            ScratchBytes = main.ScratchBytes,
            CounterCount = main.CounterCount,
            RereadBytes = main.RereadBytes,
            ExactCost = main.Cost + new Cost(layout.Rows * 2 * sizeof(float), 0, 0),
        };
    }

    private static PlannedKernel Normalise(Node node, RowLayout layout, RowNormMacros macros, CudaLimits limits)
    {
        if (layout.ChannelsLast) return GroupNormNhwcLauncher.Forward(node, layout, macros, limits);
        var op = (RowNormOp)node.Op;
        var x = node.Inputs[0];
        var rows = RowShape.Of(layout, x.DType, [x], macros.ParameterBytes, 0);
        if (Naive(limits) || RowTile.Of(rows, limits) is not { } tile) return RowNormNaiveLauncher.Forward(node, layout, macros, limits);
        var affine = op.Affine;
        var request = new KernelRequest(ForwardFile, "row_norm_forward")
        {
            Defines = [.. macros.Defines, .. tile.Defines(rows)],
            DynamicSharedBytes = tile.AskedSharedBytes,
            FastMath = macros.FastMath,
        };
        var step = new LaunchStep(
            request, tile.Shape,
            [
                Operand.Out(0), Operand.Out(1, op.Centred), Operand.Out(op.Centred ? 2 : 1), Operand.In(0), Operand.In(1, affine),
                Operand.In(2, affine && op.Centred),
            ],
            [layout.Rows, layout.Groups, rows.Units, rows.Vectors]);
        return new PlannedKernel(node, step) { ExactCost = op.Cost(node) + ParameterReads(rows, tile, layout, passes: 1) };
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = ((RowNormBackwardOp)node.Op).Of;
        var x = node.Inputs[1];
        var invstd = op.Centred ? 3 : 2;
        var withBias = op.Centred && op.Activation is not null;
        if (RowNormMacros.Of(op, x, Parameters(op, node, invstd + 1, withBias)) is not { } macros) return null;
        var layout = op.Layout(x.Shape);
        if (layout.ChannelsLast) return GroupNormNhwcLauncher.Backward(node, layout, macros, limits);
        var sums = !op.Affine ? 0 : op.Centred ? 2 : 1;
        var rows = RowShape.Of(layout, x.DType, [node.Inputs[0], x], macros.ParameterBytes, sums);
        if (Naive(limits) || RowTile.Of(rows, limits) is not { } tile) return RowNormNaiveLauncher.Backward(node, layout, macros, limits);
        var request = new KernelRequest(BackwardFile, "row_norm_backward")
        {
            Defines = [.. macros.Defines, .. tile.Defines(rows)],
            DynamicSharedBytes = tile.AskedSharedBytes,
            FastMath = macros.FastMath,
        };
        var main = new LaunchStep(
            request, tile.Shape,
            [
                Operand.Out(0), op.Affine ? Operand.Scratch() : Operand.None, Operand.In(0), Operand.In(1), Operand.In(2, op.Centred), Operand.In(invstd),
                Operand.In(invstd + 1, op.Affine), Operand.In(invstd + 2, op.Affine && withBias),
            ],
            [layout.Rows, layout.Groups, rows.Units, rows.Vectors]);
        // Each warp of a row reads the row's statistics.
        var cost = node.Op.Cost(node) + ParameterReads(rows, tile, layout, passes: 2)
            + new Cost((tile.RowWarps - 1) * layout.Rows * (op.Centred ? 2 : 1) * sizeof(float), 0, 0);
        if (!op.Affine) return new PlannedKernel(node, main) { ExactCost = cost };
        var partialRows = rows.Elements ? tile.PartialRows(rows) : layout.Batch * tile.TeamWarps;
        var finish = Finish(partialRows, layout.Parameters, sums, macros.Defines, Operand.Out(1), Operand.Out(2, op.Centred));
        var partial = partialRows * sums * layout.Parameters * sizeof(float);
        return new PlannedKernel(node, main, finish) { ScratchBytes = partial, ExactCost = cost + new Cost(partial, partial, 0) };
    }

    /// <summary>The launch that adds up rows of partial sums, which start at the workspace.</summary>
    internal static LaunchStep Finish(long rows, long parameters, int sums, (string, string)[] macros, params Operand[] outputs)
    {
        var threads = rows > 64 ? 1024 : 256;
        var request = new KernelRequest(BackwardFile, "row_norm_finish")
        {
            Defines = [.. macros.Where(m => m.Item1 is "CENTRED"), KernelRequest.Define("FINISH_THREADS", threads)],
        };
        return new LaunchStep(
            request, new LaunchShape(new Dim3((uint)((sums * parameters + 31) / 32)), new Dim3((uint)threads)), [.. outputs, Operand.Scratch()], [rows, parameters]);
    }

    /// <summary>Whether the naive kernels are asked for by name.</summary>
    private static bool Naive(CudaLimits limits) => !limits.Allows("one_read") && limits.Allows("naive");

    private static Tensor[] Parameters(RowNormOp op, Node node, int first, bool withBias) =>
        op.Affine ? [.. node.Inputs.Skip(first).Take(op.Centred && withBias ? 2 : 1)] : [];

    /// <summary>What weight and bias cost beyond being read once, which the cost of the op has.</summary>
    private static Cost ParameterReads(RowShape rows, RowTile tile, RowLayout layout, int passes)
    {
        var once = (long)layout.Parameters * rows.ParameterBytes;
        // Of a row.
        var own = once / rows.Groups;
        var clusters = tile.Grid / tile.Cluster;
        var sets = (layout.Rows + (tile.Slots * tile.Rows) - 1) / (tile.Slots * tile.Rows);
        var times = tile.Parameters == 0 ? passes * sets * tile.Slots : tile.SharesParameters(rows) ? clusters : (long)clusters * tile.Slots;
        var bytes = rows.Elements ? times * own : layout.Rows * rows.Units * tile.TeamWarps * rows.ParameterBytes;
        return new Cost(bytes - once, 0, 0);
    }
}
