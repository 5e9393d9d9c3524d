using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// local_response_norm.cu for f32 and bf16, in both layouts; neighbourhoods of more than <see cref="MostNeighbours"/> channels, and with the
/// channels last those that reach beyond the next vector, run by decomposition.
/// </summary>
internal static class LocalResponseNormLauncher
{
    private const int Threads = 256;

    /// <summary>A thread keeps them in registers.</summary>
    private const int MostNeighbours = 15;

    public static CudaKernel? Forward(Node node, CudaLimits limits) =>
        Create(node, limits, (LocalResponseNormOp)node.Op, "local_response_norm_forward", [Operand.Out(0), Operand.In(0)]);

    public static CudaKernel? Backward(Node node, CudaLimits limits) =>
        Create(node, limits, ((LocalResponseNormBackwardOp)node.Op).Of, "local_response_norm_backward", [Operand.Out(0), Operand.In(0), Operand.In(1)]);

    private static PlannedKernel? Create(Node node, CudaLimits limits, LocalResponseNormOp op, string entry, Operand[] operands)
    {
        var x = node.Outputs[0];
        var tensors = node.Inputs.Append(x);
        if (x.DType is not (DType.F32 or DType.BF16) || op.Size > MostNeighbours) return null;
        var channels = x.Shape[op.ChannelsLast ? x.Rank - 1 : 1];
        var length = x.Type.Elements == 0 ? 0 : x.Type.Elements / x.Shape[0] / channels;
        var vector = VectorWidth.Dividing(x.DType, op.ChannelsLast ? channels : length, tensors);
        if (op.ChannelsLast && op.Size - 1 > vector) return null;
        // Registers by place: see the kernel's header.
        if (!op.ChannelsLast) vector = Math.Min(vector, op.Size > 7 ? 1 : 2);
        var request = new KernelRequest("local_response_norm.cu", entry)
        {
            Defines =
            [
                KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("CHANNELS_LAST", op.ChannelsLast ? 1 : 0), KernelRequest.Define("VECTOR", vector),
                KernelRequest.Define("SIZE", op.Size), KernelRequest.Define("SCALE", (float)(op.Alpha / op.Size)),
                KernelRequest.Define("BETA", (float)op.Beta), KernelRequest.Define("OFFSET", (float)op.K),
            ],
        };
        var work = x.Shape[0] * length * (op.ChannelsLast ? channels : 1) / vector;
        var shape = new LaunchShape(new Dim3((uint)limits.Blocks(work, Threads)), new Dim3(Threads));
        var step = new LaunchStep(request, shape, operands, [x.Shape[0], channels, length]);
        // With the channels last a vector is read again for the one before it and the one behind it.
        return op.ChannelsLast ? WindowReads.Plan(node, step, x.Shape[0] * length * (3L * channels - 2 * vector)) : new PlannedKernel(node, step);
    }
}
