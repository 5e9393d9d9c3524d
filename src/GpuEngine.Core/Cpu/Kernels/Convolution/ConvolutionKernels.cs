using System.Numerics;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>The CPU kernels of conv2d, its primitive and their gradients, for the widest instruction set of the machine.</summary>
internal static class ConvolutionKernels
{
    public static void Register()
    {
        CpuKernels.Register<ConvolutionOp>((node, workers) => Create(node, workers));
        CpuKernels.Register<Conv2dOp>((node, workers) => Create(node, workers));
        CpuKernels.Register<ConvolutionInputOp>((node, workers) => Create(node, workers));
        CpuKernels.Register<ConvolutionWeightOp>((node, workers) => Create(node, workers));
    }

    /// <summary>The kernel of a convolution node for an instruction set, or null when its dtype has none.</summary>
    public static CpuKernel? Create(Node node, int workers, GemmKernel kernel = GemmKernel.Auto) => CpuKernels.Typed(
        node.Inputs[0].DType, () => Create<float>(node, workers, kernel), () => Create<double>(node, workers, kernel));

    private static CpuKernel Create<T>(Node node, int workers, GemmKernel kernel) where T : unmanaged, INumber<T>
    {
        if (kernel == GemmKernel.Auto)
        {
            kernel = GemmPlan.IsSupported(GemmKernel.Avx512) ? GemmKernel.Avx512
                : GemmPlan.IsSupported(GemmKernel.Avx2) ? GemmKernel.Avx2 : GemmKernel.Portable;
        }

        return kernel switch
        {
            GemmKernel.Avx512 => Create<T, Vector512<T>, Avx512Simd<T>>(node, workers),
            GemmKernel.Avx2 => Create<T, Vector256<T>, Avx2Simd<T>>(node, workers),
            _ => Create<T, Vector<T>, PortableSimd<T>>(node, workers),
        };
    }

    private static CpuKernel Create<T, TVec, TSimd>(Node node, int workers)
        where T : unmanaged, INumber<T>
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>
    {
        var (first, second, result) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        return node.Op switch
        {
            Conv2dOp op => new ImageConvolution<T, TVec, TSimd>(ConvTask.Forward(op.Geometry, first, second, result), workers),
            ConvolutionOp op => new ImageConvolution<T, TVec, TSimd>(ConvTask.Forward(op.Geometry, first, second, result), workers),
            ConvolutionInputOp op => new ImageConvolution<T, TVec, TSimd>(ConvTask.Backward(op.Geometry, result, second, first), workers),
            ConvolutionWeightOp op when DepthwiseWeightGradient<T, TVec, TSimd>.Fits(op.Geometry, result) =>
                new DepthwiseWeightGradient<T, TVec, TSimd>(op.Geometry, second, result, first, workers),
            ConvolutionWeightOp op => new WeightGradient<T, TVec, TSimd>(op.Geometry, second, result, first, workers),
            _ => throw new ArgumentException($"{node.Op.Name} is no convolution."),
        };
    }
}
