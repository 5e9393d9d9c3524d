using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Cpu;

/// <summary>
/// The CPU device: f32 and f64 arithmetic on all cores. It is the default where there is no GPU and, in f64 with
/// <c>useFusedKernels: false</c>, the reference that every kernel is compared with.
/// </summary>
public sealed class CpuDevice : IDevice, IPlanTarget
{
    private readonly ConditionalWeakTable<Node, CpuKernel> _kernels = [];
    private readonly bool _useFusedKernels;

    /// <param name="threads">Workers; 0 takes one per processor.</param>
    /// <param name="useFusedKernels">False runs every fused op by its decomposition.</param>
    public CpuDevice(int threads = 0, bool useFusedKernels = true)
    {
        Pool = new CpuPool(threads > 0 ? threads : CpuPool.DefaultThreads);
        _useFusedKernels = useFusedKernels;
    }

    public string Name => "cpu";

    public IPlanTarget Target => this;

    public int Alignment => NativeBuffer.Alignment;

    public bool WidensBf16 => true;

    public int Threads => Pool.Threads;

    internal CpuPool Pool { get; }

    public bool HasKernel(Node node) => (_useFusedKernels || node.Op is not FusedOp) && Kernel(node) is not null;

    public long WorkspaceBytes(Node node) => Required(node).WorkspaceBytes;

    public IVariableStore CreateStore() => new CpuVariableStore();

    public IExecutable Load(ExecutionPlan plan, IVariableStore store) => new CpuExecutable(this, plan, (CpuVariableStore)store);

    public void Dispose() => Pool.Dispose();

    /// <summary>A kernel of its own for one launch: nodes of two plans must not share bindings.</summary>
    internal CpuKernel NewKernel(Node node) => CpuKernels.Create(node, Threads) ?? throw Missing(node);

    private CpuKernel Required(Node node) => Kernel(node) ?? throw Missing(node);

    private CpuKernel? Kernel(Node node)
    {
        if (_kernels.TryGetValue(node, out var kernel)) return kernel;
        kernel = CpuKernels.Create(node, Threads);
        if (kernel is not null) _kernels.Add(node, kernel);
        return kernel;
    }

    private static NotSupportedException Missing(Node node) =>
        new($"The cpu device has no kernel for {node.Op.Name} on {string.Join(", ", node.Inputs.Select(t => t.Type))}.");
}
