using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// group_norm and instance_norm with the channels last, for f32 and bf16: one read where a slice of whole
/// groups fits into the shared memory of a block or a cluster, else two; by name also the naive kernels.
/// </summary>
internal static class GroupNormNhwcLauncher
{
    private const string ForwardFile = "group_norm_nhwc.cu";
    private const string BackwardFile = "group_norm_nhwc_backward.cu";
    private const string NaiveFile = "group_norm_nhwc_naive.cu";
    private const int PartBytes = 4 * sizeof(float);

    public static PlannedKernel Forward(Node node, RowLayout layout, RowNormMacros macros, CudaLimits limits)
    {
        var op = (RowNormOp)node.Op;
        var x = node.Inputs[0];
        Operand[] outputs = [Operand.Out(0), Operand.Out(1), Operand.Out(2)];
        Operand[] inputs = [Operand.In(0), Operand.In(1, op.Affine), Operand.In(2, op.Affine)];
        var shape = Shape(x, layout, [x], backward: false);
        var once = op.Cost(node);
        var parameters = (long)macros.ParameterBytes * layout.Parameters;
        if (limits.Allows("one_read") && SliceTile.Held(shape, limits) is { } held)
        {
            var request = Request(ForwardFile, "group_norm_nhwc_forward", macros, held) with { DynamicSharedBytes = held.AskedSharedBytes };
            var step = new LaunchStep(request, held.Whole, [.. outputs, .. inputs], [layout.Inner, layout.Parameters, held.Piece]);
            return new PlannedKernel(node, step) { ExactCost = once + new Cost((layout.Batch * held.Cluster - 1) * parameters, 0, 0) };
        }

        if (Naive(limits) || SliceTile.Streamed(shape, limits) is not { } tile) return NaiveForward(node, layout, macros, outputs, inputs, once);
        var parts = tile.Parts * layout.Rows * PartBytes;
        var found = layout.Rows * PartBytes;
        var statistics = new LaunchStep(
            Request(ForwardFile, "group_norm_nhwc_statistics", macros, tile), tile.Divided,
            [Operand.Out(1), Operand.Out(2), Operand.Scratch(), Operand.Counter, Operand.In(0)],
            [layout.Batch, layout.Inner, layout.Parameters, tile.PartPiece]);
        var apply = new LaunchStep(
            Request(ForwardFile, "group_norm_nhwc_apply", macros, tile), tile.Divided, [Operand.Out(0), Operand.Scratch(parts), .. inputs],
            [layout.Inner, layout.Parameters, tile.PartPiece]);
        return new PlannedKernel(node, statistics, apply)
        {
            ScratchBytes = parts + found,
            CounterCount = (int)tile.Divided.Grid.X,
            RereadBytes = x.Type.Bytes,
            // The last block of a slice reads the parts of its groups: one word of the first by all lanes, then all twice. Every block of
            // apply reads its parameters and what was found.
            ExactCost = once + new Cost(
                x.Type.Bytes + (layout.Batch * tile.Parts - 1) * parameters + 2 * parts + layout.Rows * 32 * sizeof(float) + tile.Parts * found, parts + found, 0),
        };
    }

    public static PlannedKernel Backward(Node node, RowLayout layout, RowNormMacros macros, CudaLimits limits)
    {
        var op = ((RowNormBackwardOp)node.Op).Of;
        var x = node.Inputs[1];
        var withBias = op.Affine && op.Activation is not null;
        Operand[] inputs =
        [
            Operand.In(0), Operand.In(1), Operand.In(2), Operand.In(3), Operand.In(4, op.Affine), Operand.In(5, withBias),
        ];
        Operand[] gradients = [Operand.Out(1), Operand.Out(2)];
        var shape = Shape(x, layout, [node.Inputs[0], x], backward: true);
        var once = node.Op.Cost(node);
        var parameters = (long)macros.ParameterBytes * layout.Parameters;
        var statistics = layout.Rows * 2L * sizeof(float);
        long[] sizes = [layout.Inner, layout.Parameters];
        if (limits.Allows("one_read") && SliceTile.Held(shape, limits) is { } held)
        {
            var request = Request(BackwardFile, "group_norm_nhwc_backward", macros, held) with { DynamicSharedBytes = held.AskedSharedBytes };
            var main = new LaunchStep(
                request, held.Whole, [Operand.Out(0), op.Affine ? Operand.Scratch() : Operand.None, .. inputs], [.. sizes, held.Piece]);
            var cost = once + new Cost((layout.Batch * held.Cluster - 1) * parameters + (held.Cluster - 1) * statistics, 0, 0);
            return WithFinish(node, layout, macros, op.Affine, layout.Batch * held.Cluster, cost, gradients, main);
        }

        if (Naive(limits) || SliceTile.Streamed(shape, limits) is not { } tile)
            return NaiveBackward(node, layout, macros, op.Affine, inputs, gradients, once);
        // One row of sums per sample, then one per part.
        var (partial, parts) = (PartialBytes(layout, layout.Batch), PartialBytes(layout, layout.Batch * tile.Parts));
        var sums = new LaunchStep(
            Request(BackwardFile, "group_norm_nhwc_backward_sums", macros, tile), tile.Divided,
            [Operand.Scratch(), Operand.Scratch(partial), Operand.Counter, .. inputs], [.. sizes, tile.PartPiece]);
        var apply = new LaunchStep(
            Request(BackwardFile, "group_norm_nhwc_backward_apply", macros, tile), tile.Divided, [Operand.Out(0), Operand.Scratch(), .. inputs],
            [.. sizes, tile.PartPiece]);
        // Every block of both launches reads its parameters and statistics, those of apply the sums of their channels.
        var both = 2 * layout.Batch * tile.Parts - 1;
        var again = new Cost(2 * x.Type.Bytes + both * parameters + (2 * tile.Parts - 1) * statistics + parts + tile.Parts * partial, parts + partial, 0);
        LaunchStep[] steps = op.Affine ? [sums, apply, RowNormLauncher.Finish(layout.Batch, layout.Parameters, 2, macros.Defines, gradients)] : [sums, apply];
        return new PlannedKernel(node, steps)
        {
            ScratchBytes = partial + parts,
            CounterCount = (int)tile.Divided.Grid.X,
            RereadBytes = 2 * x.Type.Bytes,
            ExactCost = once + again + new Cost(op.Affine ? partial : 0, 0, 0),
        };
    }

    /// <summary>Whether the naive kernels are asked for by name.</summary>
    private static bool Naive(CudaLimits limits) => !limits.Allows("two_read") && limits.Allows("naive");

    private static PlannedKernel WithFinish(
        Node node, RowLayout layout, RowNormMacros macros, bool affine, long partialRows, Cost cost, Operand[] gradients, LaunchStep main)
    {
        if (!affine) return new PlannedKernel(node, main) { ExactCost = cost };
        var partial = PartialBytes(layout, partialRows);
        return new PlannedKernel(node, [main, RowNormLauncher.Finish(partialRows, layout.Parameters, 2, macros.Defines, gradients)])
        {
            ScratchBytes = partial,
            ExactCost = cost + new Cost(partial, partial, 0),
        };
    }

    private static PlannedKernel NaiveForward(Node node, RowLayout layout, RowNormMacros macros, Operand[] outputs, Operand[] inputs, Cost once)
    {
        var x = node.Inputs[0].Type;
        var request = new KernelRequest(NaiveFile, "group_norm_nhwc_naive_forward") { Defines = NaiveDefines(macros) };
        var shape = new LaunchShape(new Dim3((uint)layout.Rows), new Dim3(256));
        // Weight and bias are read with every element.
        var again = 2 * x.Bytes + x.Elements * macros.ParameterBytes - (long)layout.Parameters * macros.ParameterBytes + layout.Rows * 256 * x.DType.Size();
        return new PlannedKernel(node, new LaunchStep(request, shape, [.. outputs, .. inputs], [layout.Inner, layout.Parameters, layout.Units]))
        {
            ExactCost = once + new Cost(again, 0, 0),
        };
    }

    private static PlannedKernel NaiveBackward(
        Node node, RowLayout layout, RowNormMacros macros, bool affine, Operand[] inputs, Operand[] gradients, Cost once)
    {
        var x = node.Inputs[1].Type;
        var defines = NaiveDefines(macros);
        var main = new LaunchStep(
            new KernelRequest(NaiveFile, "group_norm_nhwc_naive_backward") { Defines = defines },
            new LaunchShape(new Dim3((uint)layout.Rows), new Dim3(256)), [Operand.Out(0), .. inputs], [layout.Inner, layout.Parameters, layout.Units]);
        var again = new Cost(2 * x.Bytes, 0, 0);
        if (!affine) return new PlannedKernel(node, main) { ExactCost = once + again };
        var parameters = new LaunchStep(
            new KernelRequest(NaiveFile, "group_norm_nhwc_naive_parameters") { Defines = defines },
            new LaunchShape(new Dim3((uint)((layout.Parameters + 31) / 32)), new Dim3(256)), [.. gradients, .. inputs],
            [layout.Batch, layout.Inner, layout.Parameters, layout.Units]);
        // The parameters first: dx may take the place of dy.
        return new PlannedKernel(node, parameters, main) { ExactCost = once + again + again };
    }

    private static (string, string)[] NaiveDefines(RowNormMacros macros) =>
        [.. macros.Defines.Where(m => m.Item1 is not ("WITH_BIAS" or "PARAM_ALIGNED" or "CENTRED"))];

    private static long PartialBytes(RowLayout layout, long rows) => rows * 2 * layout.Parameters * sizeof(float);

    private static SliceShape Shape(Tensor x, RowLayout layout, Tensor[] accessed, bool backward) => new(
        layout.Batch, layout.Inner, layout.Parameters, layout.Units, VectorWidth.Dividing(x.DType, layout.Parameters, accessed), x.DType.Size(),
        accessed.Length, backward);

    private static KernelRequest Request(string file, string entry, RowNormMacros macros, SliceTile tile) => new(file, entry)
    {
        Defines = [.. macros.Defines.Where(m => m.Item1 is not ("PARAM_ALIGNED" or "CENTRED")), .. tile.Defines],
        FastMath = macros.FastMath,
    };
}
