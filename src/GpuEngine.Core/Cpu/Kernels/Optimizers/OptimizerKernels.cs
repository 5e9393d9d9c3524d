using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>The CPU kernels of the optimizer ops, one line each.</summary>
internal static class OptimizerKernels
{
    public static void Register()
    {
        CpuKernels.Register<SgdOp>((node, _) => Create<SgdRule<float>, SgdRule<double>>(node));
        CpuKernels.Register<AdagradOp>((node, _) => Create<AdagradRule<float>, AdagradRule<double>>(node));
        CpuKernels.Register<RmsPropOp>((node, _) => Create<RmsPropRule<float>, RmsPropRule<double>>(node));
        CpuKernels.Register<AdamOp>((node, _) => Create<AdamRule<float>, AdamRule<double>>(node));
        CpuKernels.Register<ClipGradNormOp>((node, _) => ClipGradNorm(node));
        CpuKernels.Register<ClipGradValueOp>((node, _) => CpuKernels.Typed(
            node.Inputs[0].DType, () => new ClipGradValueKernel<float>(node), () => new ClipGradValueKernel<double>(node)));
    }

    private static CpuKernel? ClipGradNorm(Node node)
    {
        var dtype = node.Inputs[0].DType;
        if (((ClipGradNormOp)node.Op).NormType != 2 || node.Inputs.Any(t => t.DType != dtype)) return null;
        return CpuKernels.Typed(dtype, () => new ClipGradNormKernel<float>(node), () => new ClipGradNormKernel<double>(node));
    }

    private static CpuKernel? Create<TSingle, TDouble>(Node node)
        where TSingle : struct, IUpdateRule<TSingle, float>
        where TDouble : struct, IUpdateRule<TDouble, double>
    {
        // A copy is the op without one and a rounding.
        if (((OptimizerOp)node.Op).Copy) return null;
        var arrays = 2 + ((OptimizerOp)node.Op).StateNames.Count;
        var dtype = node.Inputs[0].DType;
        // Mixed storage (a bf16 parameter with f32 moments) runs by the decomposition on a device that does not widen.
        if (node.Inputs.Take(arrays).Any(t => t.DType != dtype) || node.Inputs.Skip(arrays).Any(t => t.DType == DType.BF16)) return null;
        return CpuKernels.Typed(
            dtype, () => new OptimizerKernel<float, TSingle>(node), () => new OptimizerKernel<double, TDouble>(node));
    }
}
