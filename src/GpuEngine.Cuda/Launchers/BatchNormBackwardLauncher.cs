using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// batch_norm_backward.cu, batch_norm_backward_small.cu and batch_norm_backward_one_read.cu for f32 and bf16: the variants, their choice and
/// the numbers to tune are those of <see cref="BatchNormLauncher"/>, with dy and x to be held in place of x. In evaluation nothing depends on
/// sums over the batch but the parameters' gradients, and one launch reads everything once.
/// </summary>
internal static class BatchNormBackwardLauncher
{
    private const string File = "batch_norm_backward.cu";
    private const int Pair = 2 * sizeof(float);

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (BatchNormBackwardOp)node.Op;
        if (Macros(node) is not { } macros || Slicings(node, limits, 256, 4) is not { } slicings) return null;
        if (!op.Training) return Evaluation(node, macros, BatchNormPlan.TwoRead(limits, slicings, 2));
        if (limits.Variant == "naive") return Naive(node, macros);
        var small = limits.Allows("small") ? BatchNormPlan.Small(limits, slicings, ReadsResidual(op)) : null;
        if (small is not null) return Small(node, macros, small);
        // As in the forward launcher, the fastest on an H200.
        if (BatchNormPlan.OneRead(limits, Slicings(node, limits, 512, 2)!, 2, node.Op.Cost(node).Bytes, 1) is { } oneRead &&
            BatchNormLauncher.IsChosen(limits, oneRead, node, 2, op.Residual))
            return OneRead(node, limits, macros, oneRead);
        // A variant that does not fit the shape is as if none were asked for.
        if (limits.Variant is "small" or "one_read") return Create(node, limits with { Variant = null });
        return TwoRead(node, macros, BatchNormPlan.TwoRead(limits, Slicings(node, limits, 512, 4)!, 1));
    }

    private static bool ReadsResidual(BatchNormBackwardOp op) => op.Residual && !op.Mask;

    private static ChannelSlices[]? Slicings(Node node, CudaLimits limits, int threads, int perThread)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var x = node.Inputs[1];
        Tensor[] vectors = ReadsResidual(op) ? [node.Inputs[0], x, node.Inputs[^1]] : [node.Inputs[0], x];
        var packed = op.Mask ? SignMask.Packed(x.Shape, op.ChannelsLast) : 1;
        return ChannelSlices.Of(x.Type, op.ChannelsLast, vectors, packed, limits.Tuned("threads", threads), limits.Tuned("batch", perThread));
    }

    private static PlannedKernel Small(Node node, (string, string)[] macros, BatchNormPlan plan)
    {
        var request = new KernelRequest("batch_norm_backward_small.cu", "batch_norm_backward_small")
        {
            Defines =
            [
                .. plan.Slices.Defines(macros, plan.Blocks), KernelRequest.Define("HELD", plan.Held), KernelRequest.Define("CLUSTER", plan.Members),
            ],
        };
        Operand[] operands = [.. Outputs(node), .. Inputs(node)];
        return new PlannedKernel(node, new LaunchStep(request, plan.Clusters, operands, [.. plan.Slices.Sizes, plan.Share]))
        {
            ExactCost = node.Op.Cost(node) + new Cost((plan.Members - 1) * ChannelBytes(node), 0, 0) + SharedBytes(node, plan),
        };
    }

    private static PlannedKernel OneRead(Node node, CudaLimits limits, (string, string)[] macros, BatchNormPlan plan)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var request = new KernelRequest("batch_norm_backward_one_read.cu", "batch_norm_backward_one_read")
        {
            Defines = [.. plan.Slices.Defines(macros, plan.Blocks), BatchNormPlan.Ahead(limits)],
            DynamicSharedBytes = BatchNormPlan.DynamicShared(limits, plan.Slices, plan.Blocks),
        };
        Operand[] operands = [.. Outputs(node), Operand.Scratch(), Operand.Counter, .. Inputs(node)];
        long[] sizes = [.. plan.Slices.Sizes, plan.Members, plan.Share, plan.Resident, plan.Turns(limits)];
        var totals = plan.Members > 1 ? plan.Slices.Channels * Pair : 0;
        var again = 2 * plan.Slices.BytesOf(plan.Again) + (ReadsResidual(op) ? node.Inputs[^1].Type.Bytes : 0);
        var parameters = (plan.Members - 1) * (ChannelBytes(node) + totals);
        return new PlannedKernel(node, new LaunchStep(request, plan.Cooperative(2), operands, sizes))
        {
            ScratchBytes = (long)plan.Groups * (plan.Members + 1) * plan.Slices.Slots * Pair,
            CounterCount = plan.Groups * BatchNormLauncher.GateWords,
            RereadBytes = again,
            ExactCost = node.Op.Cost(node) + new Cost(again + parameters, totals, 0) + plan.Rows + SharedBytes(node, plan),
        };
    }

    private static PlannedKernel TwoRead(Node node, (string, string)[] macros, BatchNormPlan plan)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var defines = plan.Slices.Defines(macros, plan.Blocks);
        Operand[] inputs = Inputs(node);
        long[] sizes = [.. plan.Slices.Sizes, plan.Share];
        var apply = new LaunchStep(
            new KernelRequest(File, "batch_norm_backward_apply") { Defines = defines }, plan.Pieces,
            [Operand.Out(0), DResidual(node), Operand.Scratch(), .. inputs[..^1]], sizes);
        var totals = plan.Slices.Channels * Pair;
        var again = 2 * node.Inputs[1].Type.Bytes + (ReadsResidual(op) ? node.Inputs[^1].Type.Bytes : 0);
        var parameters = (2 * plan.Members - 1) * ChannelBytes(node) + plan.Members * totals;
        return new PlannedKernel(node, Sums(node, defines, plan), apply)
        {
            ScratchBytes = ScratchBytes(plan),
            CounterCount = (int)plan.Slices.Slices,
            RereadBytes = again,
            ExactCost = node.Op.Cost(node) + new Cost(again + parameters, totals, 0) + plan.Rows + SharedBytes(node, plan),
        };
    }

    private static PlannedKernel Evaluation(Node node, (string, string)[] macros, BatchNormPlan plan)
    {
        var rows = ((BatchNormBackwardOp)node.Op).Affine ? plan.Rows : default;
        return new PlannedKernel(node, Sums(node, plan.Slices.Defines(macros, plan.Blocks), plan))
        {
            ScratchBytes = ScratchBytes(plan),
            CounterCount = (int)plan.Slices.Slices,
            ExactCost = node.Op.Cost(node) + new Cost((plan.Members - 1) * ChannelBytes(node), 0, 0) + rows,
        };
    }

    private static PlannedKernel Naive(Node node, (string, string)[] macros)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var (rows, channels, length) = SignMask.View(node.Inputs[1].Shape, op.ChannelsLast);
        var request = new KernelRequest(File, "batch_norm_backward_naive") { Defines = [.. macros, KernelRequest.Define("VECTOR", 1)] };
        Operand[] operands = [.. Outputs(node), .. Inputs(node)];
        return new PlannedKernel(node, new LaunchStep(request, new(new((uint)channels), new(256)), operands, [rows, channels, length]));
    }

    private static LaunchStep Sums(Node node, (string, string)[] defines, BatchNormPlan plan) => new(
        new KernelRequest(File, "batch_norm_backward_sums") { Defines = defines }, plan.Pieces,
        [.. Outputs(node), Operand.Scratch(), Operand.Counter, .. Inputs(node)], [.. plan.Slices.Sizes, plan.Share]);

    /// <summary>Per slice a row for the totals and one per piece.</summary>
    private static long ScratchBytes(BatchNormPlan plan) => plan.Slices.Slices * (plan.Members + 1) * plan.Slices.Slots * Pair;

    private static Operand[] Outputs(Node node)
    {
        var op = (BatchNormBackwardOp)node.Op;
        return [Operand.Out(0), Operand.Out(1, op.Affine), Operand.Out(2, op.Affine), DResidual(node)];
    }

    private static Operand DResidual(Node node) => Operand.Out(node.Outputs.Count - 1, ((BatchNormBackwardOp)node.Op).Residual);

    /// <summary>dy, x, mean, invstd, weight, bias, residual, mask.</summary>
    private static Operand[] Inputs(Node node)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var last = node.Inputs.Count - 1;
        return
        [
            Operand.In(0), Operand.In(1), Operand.In(2), Operand.In(3), Operand.In(4, op.Affine), Operand.In(5, op.NeedsBias),
            Operand.In(last, ReadsResidual(op)), Operand.In(last, op.Mask),
        ];
    }

    /// <summary>What a block reads of its channels: statistics and parameters.</summary>
    private static long ChannelBytes(Node node)
    {
        var op = (BatchNormBackwardOp)node.Op;
        return node.Inputs.Skip(2).Take(2 + (op.Affine ? 1 : 0) + (op.NeedsBias ? 1 : 0)).Sum(t => t.Type.Bytes);
    }

    /// <summary>Bytes of the mask that several threads read because several vectors share them.</summary>
    private static Cost SharedBytes(Node node, BatchNormPlan plan)
    {
        var op = (BatchNormBackwardOp)node.Op;
        if (!op.Mask) return default;
        var readers = SignMask.Packed(node.Inputs[1].Shape, op.ChannelsLast) / plan.Slices.Vector;
        return new Cost((readers - 1) * node.Inputs[^1].Type.Bytes, 0, 0);
    }

    /// <summary>The constants without those of the plan; null where the kernels do not fit.</summary>
    private static (string, string)[]? Macros(Node node)
    {
        var op = (BatchNormBackwardOp)node.Op;
        var x = node.Inputs[1].Type;
        if (x.DType is not (DType.F32 or DType.BF16) || x.Elements == 0 || ActivationMacros.Of(op.Activation) is not { } activation) return null;
        var weight = op.Affine ? node.Inputs[4].DType : DType.F32;
        if (weight == DType.F64 || (op.NeedsBias && node.Inputs[5].DType != weight)) return null;
        // The identity is no activation to the kernel, but the op then still has the operands of one.
        if (op.Residual && op.Activation is null or Identity) return null;
        return
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("PARAM_DTYPE", weight), BatchNormLauncher.Flag("AFFINE", op.Affine),
            BatchNormLauncher.Flag("RESIDUAL", ReadsResidual(op)), BatchNormLauncher.Flag("MASK", op.Mask), BatchNormLauncher.Flag("TRAINING", op.Training),
            .. activation, .. op.Mask ? new[] { KernelRequest.Define("PACK", SignMask.Packed(x.Shape, op.ChannelsLast)) } : [],
        ];
    }
}
