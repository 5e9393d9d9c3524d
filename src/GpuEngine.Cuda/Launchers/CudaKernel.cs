using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// One launch for one node: planned from shapes, dtypes and limits alone (the constructor: no GPU, no driver), bound once to
/// compiled kernels and addresses, launched many times without allocating. One class per .cu file, under its stem.
/// </summary>
public abstract class CudaKernel : IDisposable
{
    private DevicePointer[] _outputs = [];
    private DevicePointer[] _inputs = [];
    private CudaFunction[] _functions = [];

    protected CudaKernel(Node node) => Node = node;

    /// <summary>The node that this runs.</summary>
    public Node Node { get; }

    /// <summary>Scratch while it runs; shared with other launches, so its contents are undefined at the start.</summary>
    public virtual long WorkspaceBytes => 0;

    /// <summary>
    /// Bytes of its own that are zero before the first launch and keep their contents between launches: the counters of
    /// "the last block goes on" and of grid barriers (common/grid.cuh).
    /// </summary>
    public virtual int CounterBytes => 0;

    /// <summary>Bytes moved and flops of one launch, compared with the simulator's counters.</summary>
    public virtual Cost Cost => Node.Op.Cost(Node);

    /// <summary>
    /// Bytes of its main operands that it reads a second time because they do not fit on the chip, or are not meant to: 0 for a variant that
    /// reads once. Part of <see cref="Cost"/>, and of the floor that the variant is measured by.
    /// </summary>
    public long RereadBytes { get; init; }

    /// <summary>The compiled kernels it needs, known from the plan alone.</summary>
    public abstract IReadOnlyList<KernelRequest> Requests { get; }

    /// <summary>What was decided, in words by which two plans of one node are told apart.</summary>
    public virtual string Decision => string.Join(" + ", Requests.Select(Describe));

    /// <summary>How it runs where that was chosen when it was bound, in words for reports; null before, and where there was no choice.</summary>
    public virtual string? Way => null;

    /// <summary>What the kernel library gave; null before binding.</summary>
    protected KernelLibrary? Library { get; private set; }

    protected DevicePointer Workspace { get; private set; }

    /// <summary>See <see cref="CounterBytes"/>.</summary>
    protected DevicePointer Counters { get; private set; }

    /// <summary>Attaches compiled kernels (in the order of <see cref="Requests"/>) and operands, once.</summary>
    public void Bind(
        KernelLibrary library, ReadOnlySpan<DevicePointer> outputs, ReadOnlySpan<DevicePointer> inputs,
        DevicePointer workspace, DevicePointer counters)
    {
        Library = library;
        _outputs = outputs.ToArray();
        _inputs = inputs.ToArray();
        Workspace = workspace;
        Counters = counters;
        _functions = [.. Requests.Select(library.Function)];
        Bound();
    }

    /// <summary>Queues the work. Argument order of every kernel: outputs, inputs, sizes, scalars.</summary>
    public abstract void Launch(CudaStream stream);

    /// <summary>Gives back what binding made, apart from the operands.</summary>
    public virtual void Dispose() => GC.SuppressFinalize(this);

    /// <summary>Called once when functions and operands are known.</summary>
    protected virtual void Bound()
    {
    }

    private protected static string Describe(KernelRequest request) =>
        $"{request.Entry} [{string.Join(' ', request.Defines.Select(d => $"{d.Name}={d.Value}"))}]";

    protected DevicePointer Out(int index) => _outputs[index];

    protected DevicePointer In(int index) => _inputs[index];

    protected int InputCount => _inputs.Length;

    /// <summary>The compiled kernel of <see cref="Requests"/>[index].</summary>
    protected CudaFunction Function(int index = 0) => _functions[index];
}
