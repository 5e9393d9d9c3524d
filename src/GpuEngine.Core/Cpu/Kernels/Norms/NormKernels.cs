using System.Numerics;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The CPU kernels of the normalisations: generic classes closed over element type, register type, activation and residual.
/// Activations without a functor (a user's own) and operands of mixed dtypes run by decomposition.
/// </summary>
internal static class NormKernels
{
    /// <summary>A generic kernel class to be closed.</summary>
    private interface IMaker
    {
        CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node, TActivation activation, int workers)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation<T>
            where TResidual : struct, IConstant;
    }

    public static void Register()
    {
        CpuKernels.Register<BatchNormOp>((node, workers) => BatchNorm(node, workers, ((BatchNormOp)node.Op).HasMask));
        CpuKernels.Register<BatchNormApplyOp>((node, workers) => BatchNorm(node, workers, ((BatchNormApplyOp)node.Op).Mask));
        CpuKernels.Register<BatchNormBackwardOp>(BatchNormGradient);
        CpuKernels.Register<GroupNormOp>(RowNorm);
        CpuKernels.Register<LayerNormOp>(RowNorm);
        CpuKernels.Register<InstanceNormOp>(RowNorm);
        CpuKernels.Register<RmsNormOp>(RowNorm);
        CpuKernels.Register<RowNormBackwardOp>(RowNormBackward);
    }

    /// <summary>The node's op, or for batch_norm_apply the one whose inputs stand where its own do.</summary>
    internal static BatchNormOp BatchNormOf(Node node) => node.Op as BatchNormOp ?? ((BatchNormApplyOp)node.Op).Evaluation;

    private static CpuKernel? BatchNorm(Node node, int workers, bool mask)
    {
        var op = BatchNormOf(node);
        if (op.Counts) return null;
        var kernel = Create<BatchNormMaker>(node, workers, op.Activation, op.Residual);
        return kernel is null || !mask ? kernel
            : node.Inputs[0].DType == DType.F32 ? new BatchNormMaskWriter<float>(node, kernel) : new BatchNormMaskWriter<double>(node, kernel);
    }

    private static CpuKernel? BatchNormGradient(Node node, int workers)
    {
        var op = (BatchNormBackwardOp)node.Op;
        if (!op.Mask) return Create<BatchNormBackwardMaker>(node, workers, op.Activation, op.Residual);
        // dz is a result and is made first; what remains is the gradient without an activation.
        var plain = op with { Activation = null, Residual = false, Mask = false };
        var rest = plain.Apply([.. node.Inputs.SkipLast(1)]);
        var kernel = Create<BatchNormBackwardMaker>(rest, workers, null, false);
        return kernel is null ? null
            : node.Inputs[0].DType == DType.F32 ? new BatchNormMaskReader<float>(node, kernel) : new BatchNormMaskReader<double>(node, kernel);
    }

    /// <summary>The kernels know contiguous rows only; channels before places are left to the decomposition.</summary>
    private static CpuKernel? RowNorm(Node node, int workers)
    {
        var op = (RowNormOp)node.Op;
        return op.Layout(node.Inputs[0].Shape).ChannelsLast ? null : Create<RowNormMaker>(node, workers, op.Activation, false);
    }

    /// <inheritdoc cref="RowNorm"/>
    private static CpuKernel? RowNormBackward(Node node, int workers)
    {
        var op = ((RowNormBackwardOp)node.Op).Of;
        return op.Layout(node.Inputs[1].Shape).ChannelsLast ? null : Create<RowNormBackwardMaker>(node, workers, op.Activation, false);
    }

    private static CpuKernel? Create<TMaker>(Node node, int workers, Activation? activation, bool residual) where TMaker : struct, IMaker
    {
        var dtype = node.Inputs[0].DType;
        if (node.Inputs.Any(t => t.DType != dtype)) return null;
        return dtype switch
        {
            DType.F32 => Activated<float, TMaker>(node, workers, activation, residual),
            DType.F64 => Activated<double, TMaker>(node, workers, activation, residual),
            _ => null,
        };
    }

    private static CpuKernel? Activated<T, TMaker>(Node node, int workers, Activation? activation, bool residual)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where TMaker : struct, IMaker => activation switch
        {
            // The hot ones are written for registers of any width.
            null or Graph.Identity => Residual<T, NoActivation<T>, TMaker>(node, workers, default, residual),
            Graph.Relu => Residual<T, ReluActivation<T>, TMaker>(node, workers, default, residual),
            _ => ActivationFunctors.Visit(activation, new FunctorVisitor<T, TMaker>(node, workers, residual), out var kernel) ? kernel : null,
        };

    private static CpuKernel Residual<T, TActivation, TMaker>(Node node, int workers, TActivation activation, bool residual)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where TActivation : struct, IFusedActivation<T>
        where TMaker : struct, IMaker => residual
        ? Vectorised<T, TActivation, N1, TMaker>(node, workers, activation)
        : Vectorised<T, TActivation, N0, TMaker>(node, workers, activation);

    private static CpuKernel Vectorised<T, TActivation, TResidual, TMaker>(Node node, int workers, TActivation activation)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where TActivation : struct, IFusedActivation<T>
        where TResidual : struct, IConstant
        where TMaker : struct, IMaker
    {
        var maker = default(TMaker);
        if (GemmPlan.IsSupported(GemmKernel.Avx512))
            return maker.Make<T, Vector512<T>, Avx512Simd<T>, TActivation, TResidual>(node, activation, workers);
        if (GemmPlan.IsSupported(GemmKernel.Avx2))
            return maker.Make<T, Vector256<T>, Avx2Simd<T>, TActivation, TResidual>(node, activation, workers);
        return maker.Make<T, Vector<T>, PortableSimd<T>, TActivation, TResidual>(node, activation, workers);
    }

    private sealed class FunctorVisitor<T, TMaker>(Node node, int workers, bool residual) : IActivationVisitor<T, CpuKernel>
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where TMaker : struct, IMaker
    {
        public CpuKernel Visit<TFunctor>(TFunctor functor) where TFunctor : struct, IActivationFunctor<T> =>
            Residual<T, FunctorActivation<T, TFunctor>, TMaker>(node, workers, new(functor), residual);
    }

    private readonly struct BatchNormMaker : IMaker
    {
        public CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node, TActivation activation, int workers)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation<T>
            where TResidual : struct, IConstant => IsFlat(node.Inputs[0].Shape, BatchNormOf(node).ChannelsLast)
            ? new BatchNormColumns<T, TVec, TSimd, TActivation, TResidual>(node, activation)
            : new BatchNormPlanes<T, TVec, TSimd, TActivation, TResidual>(node, activation, workers);
    }

    private readonly struct BatchNormBackwardMaker : IMaker
    {
        public CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node, TActivation activation, int workers)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation<T>
            where TResidual : struct, IConstant => IsFlat(node.Inputs[0].Shape, ((BatchNormBackwardOp)node.Op).ChannelsLast)
            ? new BatchNormColumnsBackward<T, TVec, TSimd, TActivation, TResidual>(node, activation)
            : new BatchNormPlanesBackward<T, TVec, TSimd, TActivation, TResidual>(node, activation, workers);
    }

    private readonly struct RowNormMaker : IMaker
    {
        public CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node, TActivation activation, int workers)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation<T>
            where TResidual : struct, IConstant => RowCuts.HasElementWeights((RowNormOp)node.Op, node.Inputs[0].Shape)
            ? new RowNormForward<T, TVec, TSimd, TActivation, N1>(node, activation)
            : new RowNormForward<T, TVec, TSimd, TActivation, N0>(node, activation);
    }

    private readonly struct RowNormBackwardMaker : IMaker
    {
        public CpuKernel Make<T, TVec, TSimd, TActivation, TResidual>(Node node, TActivation activation, int workers)
            where T : unmanaged, IBinaryFloatingPointIeee754<T>
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T>
            where TActivation : struct, IFusedActivation<T>
            where TResidual : struct, IConstant => RowCuts.HasElementWeights(((RowNormBackwardOp)node.Op).Of, node.Inputs[1].Shape)
            ? new RowNormBackward<T, TVec, TSimd, TActivation, N1>(node, activation)
            : new RowNormBackward<T, TVec, TSimd, TActivation, N0>(node, activation);
    }

    /// <summary>Rows of channels: [N, C], [N, C, 1, ...] or [N, ..., C].</summary>
    private static bool IsFlat(Shape x, bool channelsLast) => channelsLast || x.Product(2, x.Rank) == 1;
}
