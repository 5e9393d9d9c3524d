using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>
/// What the planner must know of a CUDA device, from its limits alone: plans for a GPU are made, and their memory predicted, on
/// machines without one.
/// </summary>
public sealed class CudaPlanTarget(CudaLimits limits, CudaDeviceOptions options) : IPlanTarget
{
    private readonly ConditionalWeakTable<Node, CudaKernel> _kernels = [];

    public CudaLimits Limits { get; } = limits;

    /// <summary>What cuMemAlloc aligns to, and more than any kernel's vector needs.</summary>
    public int Alignment => 256;

    public bool WidensBf16 => false;

    public bool HasKernel(Node node) => (options.UseFusedKernels || node.Op is not FusedOp) && Planned(node) is not null;

    /// <exception cref="NotSupportedException">There is no launcher for the node.</exception>
    public long WorkspaceBytes(Node node) => (Planned(node) ?? throw Missing(node)).WorkspaceBytes;

    /// <summary>Tensor cores read channels last; f32 without TF32 does not use them.</summary>
    public bool PrefersChannelsLast(DType compute) => compute == DType.BF16 || (compute == DType.F32 && Limits.AllowTf32);

    public TensorProgram Rewrite(TensorProgram program)
    {
        if (options.UseFusedKernels && Limits.HasCudnn) program = ConvolutionEpilogues.Apply(program);
        return options.FuseElementwise ? ElementwiseFusion.Apply(options.UseFusedKernels ? GradientSums.Apply(program) : program) : program;
    }

    /// <summary>A launcher of its own for one launch: nodes of two plans must not share bindings.</summary>
    /// <exception cref="NotSupportedException">There is no launcher for the node.</exception>
    public CudaKernel NewKernel(Node node) => CudaKernels.Create(node, Limits) ?? throw Missing(node);

    private CudaKernel? Planned(Node node)
    {
        if (_kernels.TryGetValue(node, out var kernel)) return kernel;
        kernel = CudaKernels.Create(node, Limits);
        if (kernel is not null) _kernels.Add(node, kernel);
        return kernel;
    }

    private static NotSupportedException Missing(Node node) =>
        new($"CUDA devices have no kernel for {node.Op.Name} on {string.Join(", ", node.Inputs.Select(t => t.Type))}.");
}
