using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>The CPU kernels of the pools.</summary>
internal static class PoolingKernels
{
    public static void Register()
    {
        CpuKernels.Register<MaxPoolOp>((node, workers) => CpuKernels.Typed(
            node.Inputs[0].DType, () => MaxPoolKernel<float>.IsPairs((MaxPoolOp)node.Op) ? new MaxPoolKernel<float>(node) : new MaxPoolRowsKernel(node, workers),
            () => new MaxPoolKernel<double>(node)));
        CpuKernels.Register<MaxPoolBackwardOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new MaxPoolBackwardKernel<float>(node), () => new MaxPoolBackwardKernel<double>(node)));
        CpuKernels.Register<AvgPool2dOp>(Average);
        CpuKernels.Register<AdaptiveAvgPool2dOp>(Average);
        CpuKernels.Register<AveragingBackwardOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new AveragingBackwardKernel<float>(node), () => new AveragingBackwardKernel<double>(node)));
    }

    private static CpuKernel? Average(Node node, int workers) => CpuKernels.Typed(
        node.Inputs[0].DType, () => new AveragingKernel<float>(node), () => new AveragingKernel<double>(node));
}
