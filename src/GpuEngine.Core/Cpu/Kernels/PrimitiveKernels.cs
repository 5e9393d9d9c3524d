using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>The CPU kernels of the primitives, one line each.</summary>
internal static class PrimitiveKernels
{
    public static void Register()
    {
        CpuKernels.Register<ConstantOp>(ElementwiseKernel.Create);
        CpuKernels.Register<UnaryOp>(ElementwiseKernel.Create);
        CpuKernels.Register<BinaryOp>(ElementwiseKernel.Create);
        CpuKernels.Register<CompareOp>(ElementwiseKernel.Create);
        CpuKernels.Register<WhereOp>(ElementwiseKernel.Create);
        CpuKernels.Register<CastOp>(ElementwiseKernel.Create);
        CpuKernels.Register<BroadcastToOp>(ElementwiseKernel.Create);
        CpuKernels.Register<IotaOp>((node, _) => new FillKernel(node));
        CpuKernels.Register<LiteralOp>((node, _) => new FillKernel(node));
        CpuKernels.Register<CopyOp>((node, _) => StridedCopyKernel.Copy(node));
        CpuKernels.Register<PermuteOp>((node, _) => StridedCopyKernel.Permute(node));
        CpuKernels.Register<SliceOp>((node, _) => StridedCopyKernel.Slice(node));
        CpuKernels.Register<PadOp>((node, _) => StridedCopyKernel.Pad(node));
        CpuKernels.Register<ConcatOp>((node, _) => new ConcatKernel(node));
        CpuKernels.Register<PackOp>((node, _) => new PackKernel(node));
        CpuKernels.Register<ReduceOp>(ReduceKernel.Create);
        CpuKernels.Register<ArgMaxOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new ArgMaxKernel<float>(node), () => new ArgMaxKernel<double>(node)));
        CpuKernels.Register<GatherOp>(GatherKernels.Gather);
        CpuKernels.Register<ScatterAddOp>(GatherKernels.ScatterAdd);
        CpuKernels.Register<GatherRowsOp>(GatherKernels.GatherRows);
        CpuKernels.Register<ScatterRowsOp>(GatherKernels.ScatterRows);
        CpuKernels.Register<RandomUniformOp>((node, _) => CpuKernels.Typed(
            node.Outputs[0].DType, () => new RandomUniformKernel<float>(node), () => new RandomUniformKernel<double>(node)));
        CpuKernels.Register<MatMulOp>(MatMulKernels.MatMul);
        CpuKernels.Register<LinearOp>(MatMulKernels.Linear);
    }
}
