using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// avg_pool.cu, in both layouts, for f32 and bf16. One window per plane is added up by several threads ("one_window"), unless "naive" asks
/// for the kernel of all other windows.
/// </summary>
internal static class AveragePoolLauncher
{
    private const int Threads = 256;

    /// <summary>Below so many elements of a window a thread of its own is as fast as several.</summary>
    private const int FewElements = 9;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var (op, last) = node.Op is AveragingNhwcOp nhwc ? (nhwc.Of, true) : ((AveragingOp)node.Op, false);
        var (x, y) = (node.Inputs[0], node.Outputs[0]);
        if (!IsPlanned(x.DType)) return null;
        var (image, windows) = (Extents(x.Shape, last), Extents(y.Shape, last));
        var length = (long)image.Height * image.Width;
        var whole = windows is { Height: 1, Width: 1 } && Covers(op, image.Height, image.Width) && length >= FewElements;
        if (!limits.Allows("one_window") || !whole) return Windows(node, limits, op, last, x, y, "avg_pool_forward");
        var by = (long)op.SafeDivisor(op.Windows(0, image.Height)[0], op.Windows(1, image.Width)[0]);
        return last ? Places(node, limits, image, length, by) : Planes(node, limits, image, length, by);
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var (op, last) = node.Op is AveragingBackwardNhwcOp nhwc ? (nhwc.Of, true) : (((AveragingBackwardOp)node.Op).Of, false);
        return IsPlanned(node.Outputs[0].DType) ? Windows(node, limits, op, last, node.Outputs[0], node.Inputs[0], "avg_pool_backward") : null;
    }

    private static bool IsPlanned(DType dtype) => dtype is DType.F32 or DType.BF16;

    /// <summary>Whether the only window holds the whole plane.</summary>
    private static bool Covers(AveragingOp op, int height, int width) =>
        op.Windows(0, height)[0].Extent == height && op.Windows(1, width)[0].Extent == width;

    private static PlannedKernel Windows(Node node, CudaLimits limits, AveragingOp op, bool last, Tensor x, Tensor y, string entry)
    {
        var (image, windows) = (Extents(x.Shape, last), Extents(y.Shape, last));
        var vector = last ? VectorWidth.Dividing(x.DType, image.Channels, [x, y]) : 1;
        List<(string, string)> defines =
        [
            KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("CHANNELS_LAST", last ? 1 : 0), KernelRequest.Define("VECTOR", vector),
        ];
        if (op is AvgPool2dOp pool)
        {
            defines.AddRange(
            [
                KernelRequest.Define("WINDOW_H", pool.Kernel[0]), KernelRequest.Define("WINDOW_W", pool.Kernel[1]),
                KernelRequest.Define("STRIDE_H", pool.Stride[0]), KernelRequest.Define("STRIDE_W", pool.Stride[1]),
                KernelRequest.Define("PAD_H", pool.Padding[0]), KernelRequest.Define("PAD_W", pool.Padding[1]),
                KernelRequest.Define("COUNT_PAD", pool.CountIncludePad ? 1 : 0), KernelRequest.Define("DIVISOR", pool.DivisorOverride),
            ]);
        }
        else
        {
            defines.Add(KernelRequest.Define("ADAPTIVE", 1));
        }

        var looks = (long)x.Shape[0] * image.Channels
            * op.Windows(0, image.Height).Sum(w => (long)w.Extent) * op.Windows(1, image.Width).Sum(w => (long)w.Extent);
        return Plan(
            node, limits, new KernelRequest("avg_pool.cu", entry) { Defines = defines }, node.Outputs[0].Type.Elements / vector,
            [x.Shape[0], image.Channels, image.Height, image.Width, windows.Height, windows.Width], looks);
    }

    private static PlannedKernel Planes(Node node, CudaLimits limits, (int Channels, int Height, int Width) image, long length, long by)
    {
        var x = node.Inputs[0];
        var piece = VectorWidth.Dividing(x.DType, length, [x]);
        // Lanes with two accesses each, a whole warp at most.
        var lanes = 32;
        while (lanes > 1 && lanes * piece > length / 2) lanes /= 2;
        var planes = (long)x.Shape[0] * image.Channels;
        var request = new KernelRequest("avg_pool.cu", "avg_pool_planes")
        {
            Defines =
            [
                KernelRequest.Define("DTYPE", x.DType), ("CHANNELS_LAST", "0"), ("VECTOR", "1"),
                KernelRequest.Define("LANES", lanes), KernelRequest.Define("PIECE", piece),
            ],
        };
        return Plan(node, limits, request, planes * lanes, [planes, length, by]);
    }

    private static PlannedKernel Places(Node node, CudaLimits limits, (int Channels, int Height, int Width) image, long length, long by)
    {
        var (x, y) = (node.Inputs[0], node.Outputs[0]);
        var vector = VectorWidth.Dividing(x.DType, image.Channels, [x, y]);
        var request = new KernelRequest("avg_pool.cu", "avg_pool_places")
        {
            Defines = [KernelRequest.Define("DTYPE", x.DType), ("CHANNELS_LAST", "1"), KernelRequest.Define("VECTOR", vector)],
        };
        return Plan(node, limits, request, (y.Type.Elements / vector + 31) / 32 * Threads, [x.Shape[0], length, image.Channels, by]);
    }

    private static PlannedKernel Plan(Node node, CudaLimits limits, KernelRequest request, long work, long[] sizes, long? looks = null)
    {
        var shape = new LaunchShape(new Dim3((uint)limits.Blocks(work, Threads)), new Dim3(Threads));
        var step = new LaunchStep(request, shape, [Operand.Out(0), Operand.In(0)], sizes);
        return looks is { } each ? WindowReads.Plan(node, step, each) : new PlannedKernel(node, step);
    }

    private static (int Channels, int Height, int Width) Extents(Shape shape, bool last) =>
        last ? (shape[3], shape[1], shape[2]) : (shape[1], shape[2], shape[3]);
}
