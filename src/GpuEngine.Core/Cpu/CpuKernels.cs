using GpuEngine.Core.Cpu.Kernels;
using GpuEngine.Core.Cpu.Kernels.Optimizers;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu;

/// <summary>Makes the kernel of a node, or null when there is none for its dtypes or attributes.</summary>
public delegate CpuKernel? CpuKernelFactory(Node node, int workers);

/// <summary>
/// The registry of CPU kernels by op type. A fused op without an entry runs by its decomposition; a primitive must have one.
/// </summary>
public static class CpuKernels
{
    private static readonly Dictionary<Type, CpuKernelFactory> Factories = [];

    static CpuKernels()
    {
        PrimitiveKernels.Register();
        OptimizerKernels.Register();
        Kernels.Norms.NormKernels.Register();
        ConvolutionKernels.Register();
        PoolingKernels.Register();
        ActivationKernels.Register();
        Register<AugmentOp>(AugmentKernels.Create);
    }

    /// <summary>Adds or replaces the kernel of an op type.</summary>
    public static void Register<TOp>(CpuKernelFactory factory) where TOp : Op => Factories[typeof(TOp)] = factory;

    /// <summary>The kernel of a node, or null.</summary>
    public static CpuKernel? Create(Node node, int workers) =>
        Factories.TryGetValue(node.Op.GetType(), out var factory) ? factory(node, workers) : null;

    /// <summary>
    /// A kernel class that is generic over the computing type: f32 and f64 get their own, other dtypes get none.
    /// </summary>
    public static CpuKernel? Typed(DType dtype, Func<CpuKernel> single, Func<CpuKernel> dual) => dtype switch
    {
        DType.F32 => single(),
        DType.F64 => dual(),
        _ => null,
    };
}
