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
/// <param name="Offset">Bytes from the start of the workspace.</param>
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

/// <summary>One launch of a hand-written kernel: addresses first (outputs, inputs), then sizes as i64.</summary>
internal sealed record LaunchStep(KernelRequest Request, LaunchShape Shape, Operand[] Operands, long[] Sizes);

/// <summary>
/// The launches of a hand-written kernel, decided by its planner from shapes, dtypes and limits alone. All planners of
/// <c>kernels/</c> make one of these, so that a test can compare every argument list with the kernel's parameter list.
/// </summary>
internal sealed class PlannedKernel : CudaKernel
{
    private readonly LaunchStep[] _steps;
    private readonly int _counterBytes;
    private Cost? _cost;

    public PlannedKernel(Node node, params LaunchStep[] steps) : base(node)
    {
        _steps = steps;
        Requests = [.. steps.Select(s => s.Request)];
        _counterBytes = steps.Any(s => s.Operands.Contains(Operand.Counter)) ? sizeof(uint) : 0;
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public override int CounterBytes => _counterBytes;

    /// <summary>Bytes of counters where a kernel has more than one.</summary>
    public int SeveralCounterBytes { init => _counterBytes = value; }

    public override long WorkspaceBytes => ScratchBytes;

    /// <summary>Bytes of the workspace.</summary>
    public long ScratchBytes { get; init; }

    /// <summary>What it moves and computes; that of the op where every tensor is read or written once.</summary>
    public override Cost Cost => _cost ?? base.Cost;

    /// <summary>The cost where it is not that of the op.</summary>
    public Cost? ExactCost { init => _cost = value; }

    /// <summary>The launches, in order.</summary>
    public IReadOnlyList<LaunchStep> Steps => _steps;

    public override void Launch(CudaStream stream)
    {
        for (var i = 0; i < _steps.Length; i++)
        {
            var step = _steps[i];
            var arguments = new KernelArguments();
            foreach (var operand in step.Operands) arguments.Add(Address(operand));
            foreach (var size in step.Sizes) arguments.Add(size);
            Function(i).Launch(stream, step.Shape, ref arguments);
        }
    }

    private DevicePointer Address(Operand operand) => operand.Kind switch
    {
        OperandKind.Output => Out(operand.Index),
        OperandKind.Input => In(operand.Index),
        OperandKind.Scratch => Workspace + operand.Offset,
        OperandKind.Counter => Counters,
        _ => default,
    };
}
