using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>The CPU kernels of conv2d, its primitive and their gradients.</summary>
internal static class ConvolutionKernels
{
    public static void Register()
    {
        CpuKernels.Register<ConvolutionOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new PlainConvolution<float>(node), () => new PlainConvolution<double>(node)));
        CpuKernels.Register<ConvolutionInputOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new PlainConvolutionInput<float>(node), () => new PlainConvolutionInput<double>(node)));
        CpuKernels.Register<ConvolutionWeightOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new PlainConvolutionWeight<float>(node), () => new PlainConvolutionWeight<double>(node)));
    }
}
