using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>max_pool.cu, in both layouts and for all float types.</summary>
internal static class MaxPoolLauncher
{
    private const int Threads = 256;

    public static CudaKernel Forward(Node node, CudaLimits limits)
    {
        var (op, last) = node.Op is MaxPoolNhwcOp nhwc ? (nhwc.Of, true) : ((MaxPoolOp)node.Op, false);
        return Create(node, limits, op, last, node.Inputs[0], node.Outputs[0], "max_pool_forward", [Operand.Out(0), Operand.Out(1), Operand.In(0)]);
    }

    public static CudaKernel Backward(Node node, CudaLimits limits)
    {
        var (op, last) = node.Op is MaxPoolBackwardNhwcOp nhwc ? (nhwc.Of, true) : (((MaxPoolBackwardOp)node.Op).Of, false);
        return Create(node, limits, op, last, node.Outputs[0], node.Inputs[0], "max_pool_backward", [Operand.Out(0), Operand.In(0), Operand.In(1)]);
    }

    private static PlannedKernel Create(Node node, CudaLimits limits, MaxPoolOp op, bool channelsLast, Tensor x, Tensor y, string entry, Operand[] operands)
    {
        var (image, windows) = (Extents(x.Shape, channelsLast), Extents(y.Shape, channelsLast));
        var vector = channelsLast ? VectorWidth.Dividing(x.DType, image.Channels, [x, y]) : 1;
        var request = new KernelRequest("max_pool.cu", entry)
        {
            Defines =
            [
                KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("CHANNELS_LAST", channelsLast ? 1 : 0), KernelRequest.Define("VECTOR", vector),
                KernelRequest.Define("WINDOW_H", op.Kernel[0]), KernelRequest.Define("WINDOW_W", op.Kernel[1]),
                KernelRequest.Define("STRIDE_H", op.Stride[0]), KernelRequest.Define("STRIDE_W", op.Stride[1]),
                KernelRequest.Define("PAD_H", op.Padding[0]), KernelRequest.Define("PAD_W", op.Padding[1]),
                KernelRequest.Define("DILATION_H", op.Dilation[0]), KernelRequest.Define("DILATION_W", op.Dilation[1]),
            ],
        };
        var work = node.Outputs[0].Type.Elements / vector;
        var shape = new LaunchShape(new Dim3((uint)limits.Blocks(work, Threads)), new Dim3(Threads));
        // Every place of a window that lies in the image is looked at, forward and backward.
        var looks = (long)x.Shape[0] * image.Channels * Inside(op, 0, windows.Height, image.Height) * Inside(op, 1, windows.Width, image.Width);
        return WindowReads.Plan(
            node, new LaunchStep(request, shape, operands, [x.Shape[0], image.Channels, image.Height, image.Width, windows.Height, windows.Width]), looks);
    }

    /// <summary>Places of all windows of an axis that lie in the image.</summary>
    private static long Inside(MaxPoolOp op, int axis, int windows, int extent)
    {
        var count = 0L;
        for (var p = 0; p < windows; p++)
        {
            for (var r = 0; r < op.Kernel[axis]; r++)
            {
                var at = p * op.Stride[axis] - op.Padding[axis] + r * op.Dilation[axis];
                if (at >= 0 && at < extent) count++;
            }
        }

        return count;
    }

    private static (int Channels, int Height, int Width) Extents(Shape shape, bool channelsLast) =>
        channelsLast ? (shape[3], shape[1], shape[2]) : (shape[1], shape[2], shape[3]);
}
