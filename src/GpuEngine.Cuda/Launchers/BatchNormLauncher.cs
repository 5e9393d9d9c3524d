using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// batch_norm.cu, batch_norm_small.cu and batch_norm_one_read.cu for f32 and bf16. In training: "small" where a slice of channels fits in
/// the registers of a cluster, else "one_read" (slices in shared memory between the statistics and y) or "two_read", as
/// <see cref="BatchNormEstimate"/> says; "naive" when asked for. The plan of one_read, and with it the last bits of its results, depends on the device's size; the others do not.
/// Tuned numbers: "threads", "blocks" (of a multiprocessor), "batch", "width" (vectors of a row of a slice), "held" and "cluster" (small),
/// "ahead" (batches on their way), "groups", "turns" (groups that begin at once; 0: all) and "margin" (multiprocessors left free; one_read), "piece_blocks" (two_read).
/// </summary>
internal static class BatchNormLauncher
{
    private const string File = "batch_norm.cu";

    /// <summary>u32s of a gate (kernels/common/grid.cuh).</summary>
    internal const int GateWords = 64;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (BatchNormOp)node.Op;
        if (Macros(node) is not { } macros || Slicings(node, limits, 256, 4) is not { } slicings) return null;
        if (!op.Training) return Evaluation(node, macros, BatchNormPlan.TwoRead(limits, slicings, ApplyBlocks(op)));
        if (limits.Variant == "naive") return Naive(node, macros);
        var small = limits.Allows("small") ? BatchNormPlan.Small(limits, slicings, op.Residual) : null;
        if (small is not null) return Small(node, macros, small);
        // Threads, positions per thread and blocks on a multiprocessor are those that were fastest on an H200 (bench/FACTS.md).
        // With a mask a thread takes as many positions as it has whole words of signs.
        var held = Slicings(node, limits, slicings[0].Planes ? 256 : 512, op.HasMask ? 4 : 2)!;
        if (BatchNormPlan.OneRead(limits, held, 1, node.Op.Cost(node).Bytes, op.HasMask ? 1 : 2) is { } oneRead && IsChosen(limits, oneRead, node, 1, op.Residual))
            return OneRead(node, limits, macros, oneRead);
        // A variant that does not fit the shape is as if none were asked for.
        if (limits.Variant is "small" or "one_read") return Forward(node, limits with { Variant = null });
        return TwoRead(node, macros, BatchNormPlan.TwoRead(limits, Slicings(node, limits, 512, 2)!, 2));
    }

    /// <summary>The flag macros of forward and backward alike.</summary>
    internal static (string Name, string Value) Flag(string name, bool value) => KernelRequest.Define(name, value ? 1 : 0);

    /// <summary>Whether reading once is asked for, or expected to be faster than reading so many tensors twice.</summary>
    internal static bool IsChosen(CudaLimits limits, BatchNormPlan oneRead, Node node, int tensors, bool residual)
    {
        if (limits.Variant is not null) return limits.Variant == "one_read";
        var floor = node.Op.Cost(node).Bytes;
        return BatchNormEstimate.OneRead(limits, oneRead, tensors, floor, residual) <= BatchNormEstimate.TwoRead(limits, tensors * node.Inputs[0].Type.Bytes, floor);
    }

    /// <summary>What may be cut into slices: all tensors of x's type that are accessed.</summary>
    internal static ChannelSlices[]? Slicings(Node node, CudaLimits limits, int threads, int perThread)
    {
        var op = (BatchNormOp)node.Op;
        var x = node.Inputs[0];
        Tensor[] vectors = op.Residual ? [x, node.Inputs[^1]] : [x];
        var packed = op.HasMask ? SignMask.Packed(x.Shape, op.ChannelsLast) : 1;
        return ChannelSlices.Of(x.Type, op.ChannelsLast, vectors, packed, limits.Tuned("threads", threads), limits.Tuned("batch", perThread));
    }

    private static PlannedKernel Small(Node node, (string, string)[] macros, BatchNormPlan plan)
    {
        var request = new KernelRequest("batch_norm_small.cu", "batch_norm_small")
        {
            Defines =
            [
                .. plan.Slices.Defines(macros, plan.Blocks), KernelRequest.Define("HELD", plan.Held), KernelRequest.Define("CLUSTER", plan.Members),
            ],
        };
        Operand[] operands = [.. Outputs(node), Mask(node), Positive(node), .. Inputs(node)];
        return new PlannedKernel(node, new LaunchStep(request, plan.Clusters, operands, [.. plan.Slices.Sizes, plan.Share]))
        {
            ExactCost = node.Op.Cost(node) + new Cost(ParameterBytes(node) * (plan.Members - 1), 0, 0),
        };
    }

    private static PlannedKernel OneRead(Node node, CudaLimits limits, (string, string)[] macros, BatchNormPlan plan)
    {
        var request = new KernelRequest("batch_norm_one_read.cu", "batch_norm_one_read")
        {
            Defines = [.. plan.Slices.Defines(macros, plan.Blocks), BatchNormPlan.Ahead(limits)],
            DynamicSharedBytes = BatchNormPlan.DynamicShared(limits, plan.Slices, plan.Blocks),
        };
        Operand[] operands = [.. Outputs(node), Mask(node), Positive(node), Operand.Scratch(), Operand.Counter, .. Inputs(node)];
        long[] sizes = [.. plan.Slices.Sizes, plan.Members, plan.Share, plan.Resident, plan.Turns(limits)];
        var statistics = plan.Members * plan.Slices.Channels * 2 * sizeof(float);
        var reread = plan.Slices.BytesOf(plan.Again);
        var again = reread + statistics + (plan.Members - 1) * ParameterBytes(node);
        return new PlannedKernel(node, new LaunchStep(request, plan.Cooperative(1), operands, sizes))
        {
            ScratchBytes = (long)plan.Groups * plan.Members * plan.Slices.Slots * 2 * sizeof(float),
            CounterCount = plan.Groups * GateWords,
            RereadBytes = reread,
            ExactCost = node.Op.Cost(node) + new Cost(again, 0, 0) + plan.Rows + plan.Shifts,
        };
    }

    private static PlannedKernel TwoRead(Node node, (string, string)[] macros, BatchNormPlan plan)
    {
        var op = (BatchNormOp)node.Op;
        long[] sizes = [.. plan.Slices.Sizes, plan.Share];
        var statistics = new LaunchStep(
            new KernelRequest(File, "batch_norm_statistics") { Defines = plan.Slices.Defines(macros, plan.Blocks) }, plan.Pieces,
            [.. Outputs(node).Skip(1), Positive(node), Operand.Scratch(), Operand.Counter, Operand.In(0), .. Running(op)], sizes);
        var apply = new LaunchStep(
            new KernelRequest(File, "batch_norm_apply") { Defines = plan.Slices.Defines(macros, Math.Min(plan.Blocks, ApplyBlocks(op))) }, plan.Pieces, [.. Outputs(node), Mask(node), Positive(node), .. Inputs(node)], sizes);
        var parameters = plan.Members * plan.Slices.Channels * 2 * sizeof(float) + (plan.Members - 1) * ParameterBytes(node);
        return new PlannedKernel(node, statistics, apply)
        {
            ScratchBytes = plan.Slices.Slices * plan.Members * plan.Slices.Slots * 2 * sizeof(float),
            CounterCount = (int)plan.Slices.Slices,
            RereadBytes = node.Inputs[0].Type.Bytes,
            ExactCost = node.Op.Cost(node) + new Cost(node.Inputs[0].Type.Bytes + parameters, 0, 0) + plan.Rows + plan.Shifts,
        };
    }

    /// <summary>Blocks on a multiprocessor for which the apply kernel has registers enough.</summary>
    internal static int ApplyBlocks(BatchNormOp op) => op.Residual ? 2 : 3;

    private static PlannedKernel Evaluation(Node node, (string, string)[] macros, BatchNormPlan plan)
    {
        var request = new KernelRequest(File, "batch_norm_apply") { Defines = plan.Slices.Defines(macros, plan.Blocks) };
        var parameters = ParameterBytes(node) + plan.Slices.Channels * 2 * sizeof(float);
        return new PlannedKernel(node, new LaunchStep(request, plan.Pieces, [.. Outputs(node), Mask(node), Positive(node), .. Inputs(node)], [.. plan.Slices.Sizes, plan.Share]))
        {
            ExactCost = node.Op.Cost(node) + new Cost((plan.Members - 1) * parameters, 0, 0),
        };
    }

    private static PlannedKernel Naive(Node node, (string, string)[] macros)
    {
        var op = (BatchNormOp)node.Op;
        var (rows, channels, length) = SignMask.View(node.Inputs[0].Shape, op.ChannelsLast);
        KernelRequest Request(string entry) => new(File, entry) { Defines = [.. macros, KernelRequest.Define("VECTOR", 1)] };
        var values = new LaunchStep(
            Request("batch_norm_naive"), new(new((uint)channels), new(256)), [.. Outputs(node), .. Inputs(node)], [rows, channels, length]);
        List<LaunchStep> steps = [values];
        if (op.HasMask)
        {
            var bytes = node.Outputs[op.MaskOutput].Type.Bytes;
            steps.Add(new LaunchStep(
                Request("batch_norm_mask_naive"), new(new((uint)((bytes + 255) / 256)), new(256)), [Mask(node), Operand.Out(0)], [rows, channels, length, bytes]));
        }

        if (op.Counts)
            steps.Add(new LaunchStep(Request("batch_norm_count_naive"), new(new((uint)channels), new(256)), [Positive(node), Operand.Out(0)], [rows, channels, length]));
        return new PlannedKernel(node, [.. steps]);
    }

    private static Operand[] Outputs(Node node)
    {
        var has = ((BatchNormOp)node.Op).Running;
        return [Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3, has), Operand.Out(4, has)];
    }

    private static Operand Mask(Node node) => Operand.Out(((BatchNormOp)node.Op).MaskOutput, ((BatchNormOp)node.Op).HasMask);

    private static Operand Positive(Node node) => Operand.Out(node.Outputs.Count - 1, ((BatchNormOp)node.Op).Counts);

    private static Operand[] Inputs(Node node)
    {
        var op = (BatchNormOp)node.Op;
        return [Operand.In(0), Operand.In(1, op.Affine), Operand.In(2, op.Affine), .. Running(op), Operand.In(node.Inputs.Count - 1, op.Residual)];
    }

    private static Operand[] Running(BatchNormOp op)
    {
        var first = FirstRunning(op);
        return [Operand.In(first, op.Running), Operand.In(first + 1, op.Running)];
    }

    private static int FirstRunning(BatchNormOp op) => op.Affine ? 3 : 1;

    /// <summary>Bytes of weight and bias.</summary>
    private static long ParameterBytes(Node node) => ((BatchNormOp)node.Op).Affine ? node.Inputs[1].Type.Bytes + node.Inputs[2].Type.Bytes : 0;

    /// <summary>The constants without those of the plan; null where the kernels do not fit.</summary>
    internal static (string, string)[]? Macros(Node node)
    {
        var op = (BatchNormOp)node.Op;
        var x = node.Inputs[0].Type;
        if (x.DType is not (DType.F32 or DType.BF16) || x.Elements == 0 || ActivationMacros.Of(op.Activation) is not { } activation) return null;
        if (op.Affine && node.Inputs[1].DType != node.Inputs[2].DType) return null;
        if (op.Running && (node.Inputs[FirstRunning(op)].DType != DType.F32 || node.Inputs[FirstRunning(op) + 1].DType != DType.F32)) return null;
        var weight = op.Affine ? node.Inputs[1].DType : DType.F32;
        if (weight == DType.F64) return null;
        return
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("PARAM_DTYPE", weight), Flag("AFFINE", op.Affine), Flag("RESIDUAL", op.Residual),
            Flag("RUNNING", op.Running), Flag("TRAINING", op.Training), Flag("UNBIASED", op.UnbiasedRunning), Flag("MASK", op.HasMask), Flag("COUNTS", op.Counts),
            KernelRequest.Define("MOMENTUM", (float)op.Momentum), KernelRequest.Define("EPS", (float)op.Eps), .. activation,
            .. op.HasMask ? new[] { KernelRequest.Define("PACK", SignMask.Packed(x.Shape, op.ChannelsLast)) } : [],
        ];
    }
}
