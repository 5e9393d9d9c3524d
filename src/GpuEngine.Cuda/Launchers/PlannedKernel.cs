using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>What an address argument of a hand-written kernel points to.</summary>
internal enum OperandKind
{
    /// <summary>A null pointer: a parameter that this variant does not use.</summary>
    None,
    Output,
    Input,

    /// <summary>A part of the workspace, floats unless the kernel says otherwise.</summary>
    Scratch,

    /// <summary>Zeroed before the first launch (see <see cref="CudaKernel.CounterBytes"/>).</summary>
    Counter,
}

/// <summary>An address argument.</summary>
/// <param name="Kind">What it points to.</param>
/// <param name="Index">Which output or input of the node.</param>
/// <param name="Offset">Bytes from the start of it.</param>
internal readonly record struct Operand(OperandKind Kind, int Index = 0, long Offset = 0)
{
    public static Operand None => default;

    public static Operand Counter => new(OperandKind.Counter);

    public static Operand Out(int index) => new(OperandKind.Output, index);

    public static Operand In(int index) => new(OperandKind.Input, index);

    /// <summary>An input that a variant may lack.</summary>
    public static Operand In(int index, bool present) => present ? In(index) : None;

    /// <inheritdoc cref="In(int, bool)"/>
    public static Operand Out(int index, bool present) => present ? Out(index) : None;

    public static Operand Scratch(long offset = 0) => new(OperandKind.Scratch, 0, offset);
}

/// <summary>One thing that a planned kernel queues: a launch or a library's product.</summary>
internal abstract record PlannedStep;

/// <summary>One launch of a hand-written kernel: addresses first (outputs, inputs), then sizes as i64.</summary>
internal sealed record LaunchStep(KernelRequest Request, LaunchShape Shape, Operand[] Operands, long[] Sizes) : PlannedStep;

/// <summary>
/// The launches of a hand-written kernel, decided by its planner from shapes, dtypes and limits alone. All planners of
/// <c>kernels/</c> make one of these, so that a test can compare every argument list with the kernel's parameter list.
/// </summary>
internal sealed class PlannedKernel : CudaKernel
{
    private readonly PlannedStep[] _all;
    private readonly LaunchStep[] _launches;
    private readonly bool _counts;
    private Cost? _cost;

    public PlannedKernel(Node node, params PlannedStep[] steps) : base(node)
    {
        _all = steps;
        _launches = [.. steps.OfType<LaunchStep>()];
        Requests = [.. _launches.Select(s => s.Request)];
        _counts = _launches.Any(s => s.Operands.Contains(Operand.Counter));
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public override int CounterBytes => _counts ? CounterCount * sizeof(uint) : 0;

    /// <summary>Counters that the counter operand points to.</summary>
    public int CounterCount { get; init; } = 1;

    public override long WorkspaceBytes => ScratchBytes;

    /// <summary>Bytes of the workspace.</summary>
    public long ScratchBytes { get; init; }

    /// <summary>What it moves and computes; that of the op where every tensor is read or written once.</summary>
    public override Cost Cost => _cost ?? base.Cost;

    /// <summary>The cost where it is not that of the op.</summary>
    public Cost? ExactCost { init => _cost = value; }

    public override string Decision => string.Join(" + ", _all.Select(s => s is LaunchStep l ? $"{Describe(l.Request)} {l.Shape}" : s.ToString()));

    /// <summary>The launches of compiled kernels, in order.</summary>
    public IReadOnlyList<LaunchStep> Steps => _launches;

    public override void Launch(CudaStream stream)
    {
        var next = 0;
        foreach (var step in _all)
        {
            if (step is ProductStep product)
            {
                product.Launch(Library!, stream, Workspace, Address(product.A), Address(product.B), Address(product.C));
                continue;
            }

            var launch = (LaunchStep)step;
            var arguments = new KernelArguments();
            foreach (var operand in launch.Operands) arguments.Add(Address(operand));
            foreach (var size in launch.Sizes) arguments.Add(size);
            Function(next++).Launch(stream, launch.Shape, ref arguments);
        }
    }

    private DevicePointer Address(Operand operand) => operand.Kind switch
    {
        OperandKind.Output => Out(operand.Index) + operand.Offset,
        OperandKind.Input => In(operand.Index) + operand.Offset,
        OperandKind.Scratch => Workspace + operand.Offset,
        OperandKind.Counter => Counters,
        _ => default,
    };
}
