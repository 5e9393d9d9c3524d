using System.Numerics;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>How the CPU computes a convolution or an input gradient.</summary>
internal enum ConvMethod
{
    /// <summary>What is faster for the shape.</summary>
    Auto,

    /// <summary>As it is defined.</summary>
    Direct,

    /// <summary>Winograd's F(2x2, 3x3), where the window allows it.</summary>
    Winograd,
}

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
    public static CpuKernel? Create(Node node, int workers, GemmKernel kernel = GemmKernel.Auto, ConvMethod method = ConvMethod.Auto) => CpuKernels.Typed(
        node.Inputs[0].DType, () => Create<float>(node, workers, kernel, method), () => Create<double>(node, workers, kernel, method));

    private static CpuKernel Create<T>(Node node, int workers, GemmKernel kernel, ConvMethod method) where T : unmanaged, INumber<T>
    {
        if (kernel == GemmKernel.Auto)
        {
            kernel = GemmPlan.IsSupported(GemmKernel.Avx512) ? GemmKernel.Avx512
                : GemmPlan.IsSupported(GemmKernel.Avx2) ? GemmKernel.Avx2 : GemmKernel.Portable;
        }

        return kernel switch
        {
            GemmKernel.Avx512 => Create<T, Vector512<T>, Avx512Simd<T>, Vector512<float>, Avx512Simd<float>>(node, workers, method),
            GemmKernel.Avx2 => Create<T, Vector256<T>, Avx2Simd<T>, Vector256<float>, Avx2Simd<float>>(node, workers, method),
            _ => Create<T, Vector<T>, PortableSimd<T>, Vector<float>, PortableSimd<float>>(node, workers, method),
        };
    }

    private static CpuKernel Create<T, TVec, TSimd, TSingleVec, TSingle>(Node node, int workers, ConvMethod method)
        where T : unmanaged, INumber<T>
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>
        where TSingleVec : struct
        where TSingle : struct, ISimd<TSingleVec, float>
    {
        var (first, second, result) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        return node.Op switch
        {
            Conv2dOp op => Image(ConvTask.Forward(op.Geometry, first, second, result)),
            ConvolutionOp op => Image(ConvTask.Forward(op.Geometry, first, second, result)),
            ConvolutionInputOp op => Image(ConvTask.Backward(op.Geometry, result, second, first)),
            ConvolutionWeightOp op when DepthwiseWeightGradient<T, TVec, TSimd>.Fits(op.Geometry, result) =>
                new DepthwiseWeightGradient<T, TVec, TSimd>(op.Geometry, second, result, first, workers),
            ConvolutionWeightOp op => new WeightGradient<T, TVec, TSimd>(op.Geometry, second, result, first, workers),
            _ => throw new ArgumentException($"{node.Op.Name} is no convolution."),
        };

        CpuKernel Image(ConvTask task)
        {
            var winograd = typeof(T) == typeof(float) && method switch
            {
                ConvMethod.Auto => WinogradTiles.Fits(task, TSingle.Width),
                ConvMethod.Winograd => WinogradTiles.IsPossible(task),
                _ => false,
            };
            return winograd ? new WinogradConvolution<TSingleVec, TSingle>(task, workers) : new ImageConvolution<T, TVec, TSimd>(task, workers);
        }
    }
}
