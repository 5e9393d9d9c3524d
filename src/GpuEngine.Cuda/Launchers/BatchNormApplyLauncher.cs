using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// batch_norm_apply of batch_norm.cu with statistics that are given, for f32 and bf16: the second launch of the variant that reads twice,
/// whose arithmetic per element is that of all variants, so y comes out in the bits of the batch_norm that found the statistics.
/// </summary>
internal static class BatchNormApplyLauncher
{
    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (BatchNormApplyOp)node.Op;
        // The training op over the same x, for what the two have in common.
        var like = new BatchNormOp(true, 0, 0, op.Affine, false, op.Activation, true, op.Residual, op.ChannelsLast);
        var training = like.Apply([.. node.Inputs.Take(op.FirstStatistic), .. op.Residual ? new[] { node.Inputs[^1] } : []]);
        if (BatchNormLauncher.Macros(training) is not { } macros || BatchNormLauncher.Slicings(training, limits, 256, 4) is not { } slicings) return null;
        var plan = BatchNormPlan.TwoRead(limits, slicings, BatchNormLauncher.ApplyBlocks(like));
        macros = [.. macros.Select(m => m.Item1 == "MASK" ? BatchNormLauncher.Flag("MASK", op.Mask) : m)];
        var request = new KernelRequest("batch_norm.cu", "batch_norm_apply") { Defines = plan.Slices.Defines(macros, plan.Blocks) };
        Operand[] operands =
        [
            Operand.Out(0), Operand.In(op.FirstStatistic), Operand.In(op.FirstStatistic + 1), Operand.None, Operand.None, Operand.Out(1, op.Mask), Operand.None,
            Operand.In(0), Operand.In(1, op.Affine), Operand.In(2, op.Affine), Operand.None, Operand.None, Operand.In(node.Inputs.Count - 1, op.Residual),
        ];
        var parameters = node.Inputs.Skip(1).Take(op.FirstStatistic + 1).Sum(t => t.Type.Bytes);
        return new PlannedKernel(node, new LaunchStep(request, plan.Pieces, operands, [.. plan.Slices.Sizes, plan.Share]))
        {
            ExactCost = node.Op.Cost(node) + new Cost((plan.Members - 1) * parameters, 0, 0),
        };
    }
}
