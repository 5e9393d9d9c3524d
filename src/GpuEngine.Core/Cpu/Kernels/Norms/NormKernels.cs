using System.Numerics;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The CPU kernels of the normalisations. Activations that have no register form, and operands of mixed dtypes, run by
/// decomposition.
/// </summary>
internal static class NormKernels
{
    public static void Register()
    {
        CpuKernels.Register<BatchNormOp>((node, _) =>
            Create(node, ((BatchNormOp)node.Op).Activation, ((BatchNormOp)node.Op).Residual, new Forward()));
        CpuKernels.Register<BatchNormBackwardOp>((node, _) =>
            Create(node, ((BatchNormBackwardOp)node.Op).Activation, ((BatchNormBackwardOp)node.Op).Residual, new Backward()));
    }

    /// <summary>One generic kernel class, closed over element type, registers, activation and residual.</summary>
    private interface IMaker
    {
        CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation
            where TResidual : struct, IConstant;
    }

    private static CpuKernel? Create(Node node, Activation? activation, bool residual, IMaker maker)
    {
        var x = node.Inputs[0].Type;
        var dtype = x.DType;
        if (x.Shape.Product(2, x.Shape.Rank) != 1) return null;
        if (node.Inputs.Any(t => t.DType != dtype)) return null;
        return (activation, residual) switch
        {
            (null, false) => Typed<NoActivation, N0>(node, dtype, maker),
            (null, true) => Typed<NoActivation, N1>(node, dtype, maker),
            (Graph.Relu, false) => Typed<ReluActivation, N0>(node, dtype, maker),
            (Graph.Relu, true) => Typed<ReluActivation, N1>(node, dtype, maker),
            _ => null,
        };
    }

    private static CpuKernel? Typed<TActivation, TResidual>(Node node, DType dtype, IMaker maker)
        where TActivation : struct, IFusedActivation
        where TResidual : struct, IConstant =>
        CpuKernels.Typed(dtype, () => Sized<float, TActivation, TResidual>(node, maker), () => Sized<double, TActivation, TResidual>(node, maker));

    private static CpuKernel Sized<T, TActivation, TResidual>(Node node, IMaker maker)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where TActivation : struct, IFusedActivation
        where TResidual : struct, IConstant
    {
        if (GemmPlan.IsSupported(GemmKernel.Avx512)) return maker.Make<T, Vector512<T>, Avx512Simd<T>, TActivation, TResidual>(node);
        if (GemmPlan.IsSupported(GemmKernel.Avx2)) return maker.Make<T, Vector256<T>, Avx2Simd<T>, TActivation, TResidual>(node);
        return maker.Make<T, Vector<T>, PortableSimd<T>, TActivation, TResidual>(node);
    }

    private readonly struct Forward : IMaker
    {
        public CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation
            where TResidual : struct, IConstant => new BatchNormColumns<T, TVec, TSimd, TActivation, TResidual>(node);
    }

    private readonly struct Backward : IMaker
    {
        public CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation
            where TResidual : struct, IConstant => new BatchNormColumnsBackward<T, TVec, TSimd, TActivation, TResidual>(node);
    }
}
