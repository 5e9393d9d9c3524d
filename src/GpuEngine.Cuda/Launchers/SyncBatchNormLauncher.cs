using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>sync_batch_norm.cu on a gathered buffer [ranks, rows, C], in f32.</summary>
internal static class SyncBatchNormLauncher
{
    public static CudaKernel? Stats(Node node, CudaLimits limits)
    {
        var (op, rows) = ((SyncBatchNormStatsOp)node.Op, node.Inputs[0]);
        if (rows.DType != DType.F32 || rows.Type.Elements == 0) return null;
        var plan = PeerTotals.Statistics(rows.Shape[0], rows.Shape[2], op);
        return new PlannedKernel(node, new LaunchStep(
            plan.Request with { Defines = [.. plan.Request.Defines.Where(d => d.Name != PeerTotals.Peers)] }, plan.Shape,
            [
                Operand.Out(0), Operand.Out(1), Operand.Out(2), Operand.Out(3, op.Running), Operand.Out(4, op.Running), Operand.In(0),
                Operand.In(1, op.Running), Operand.In(2, op.Running),
            ],
            [rows.Shape[0], rows.Shape[2]]));
    }

    public static CudaKernel? Sums(Node node, CudaLimits limits)
    {
        var rows = node.Inputs[0];
        if (rows.DType != DType.F32 || rows.Type.Elements == 0) return null;
        var plan = PeerTotals.Sums(rows.Shape[0], rows.Shape[2]);
        return new PlannedKernel(node, new LaunchStep(
            plan.Request with { Defines = [.. plan.Request.Defines.Where(d => d.Name != PeerTotals.Peers)] }, plan.Shape,
            [Operand.Out(0), Operand.In(0)], [rows.Shape[0], rows.Shape[2]]));
    }
}
