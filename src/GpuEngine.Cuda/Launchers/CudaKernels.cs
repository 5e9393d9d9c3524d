using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>Plans the launch of a node, or null when there is none for its dtypes or attributes. Pure.</summary>
public delegate CudaKernel? CudaKernelFactory(Node node, CudaLimits limits);

/// <summary>
/// The registry of CUDA launchers by op type. A fused op without an entry runs by its decomposition; a primitive must have one.
/// </summary>
public static class CudaKernels
{
    private static readonly Dictionary<Type, CudaKernelFactory> Factories = [];

    static CudaKernels()
    {
        PrimitiveLaunchers.Register();
        FileLaunchers.Register();
    }

    /// <summary>Adds or replaces the launcher of an op type.</summary>
    public static void Register<TOp>(CudaKernelFactory factory) where TOp : Op => Factories[typeof(TOp)] = factory;

    /// <summary>The launcher of a node, or null.</summary>
    public static CudaKernel? Create(Node node, CudaLimits limits) =>
        Factories.TryGetValue(node.Op.GetType(), out var factory) ? factory(node, limits) : null;
}
