using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// Sum and maximum over any axes. Few long reductions are cut into pieces whose number depends on the shape alone, and a
/// second launch joins them in order: the result never depends on the device's size.
/// </summary>
internal sealed class Reduce : CudaKernel
{
    private const int Threads = 256;

    /// <summary>Fewest elements of a piece.</summary>
    private const int PieceElements = 2048;

    /// <summary>Above so many independent items the device is busy without cutting.</summary>
    private const int EnoughItems = 512;

    private readonly Pass _first;
    private readonly Pass? _second;
    private readonly long _outputs;

    private Reduce(Node node, CudaLimits limits) : base(node)
    {
        var op = (ReduceOp)node.Op;
        var dtype = node.Inputs[0].DType;
        var accumulator = dtype == DType.BF16 ? DType.F32 : dtype;
        var axes = Axes(node.Inputs[0].Shape, op.Axes);
        var rows = axes.Count == 0 || axes[^1].Reduced;
        var kept = axes.Where(a => !a.Reduced).ToArray();
        var reduced = axes.Where(a => a.Reduced).ToArray();
        _outputs = node.Outputs[0].Type.Elements;
        var count = node.Inputs[0].Shape.Elements == 0 ? 0 : reduced.Aggregate(1L, (n, a) => n * a.Extent);
        var pieces = Pieces(rows, count);
        WorkspaceBytes = pieces > 1 ? _outputs * pieces * accumulator.Size() : 0;
        var wide = node.Inputs[0].Type.Elements > int.MaxValue;
        var kind = op.Kind;
        _first = new Pass(limits, rows, kept, reduced, _outputs, count, pieces)
        {
            Request = Request(kind, rows, dtype, accumulator, pieces > 1 ? accumulator : dtype, kept.Length, reduced.Length, count / pieces, wide),
        };
        if (pieces == 1)
        {
            Requests = [_first.Request];
            return;
        }

        // The pieces of an output lie side by side after rows, one row of outputs after the other after columns.
        Axis[] keptAgain = [new(_outputs, rows ? pieces : 1, false)];
        Axis[] reducedAgain = [new(pieces, rows ? 1 : _outputs, true)];
        _second = new Pass(limits, rows, keptAgain, reducedAgain, _outputs, pieces, 1)
        {
            Request = Request(kind, rows, accumulator, accumulator, dtype, 1, 1, pieces, false),
        };
        Requests = [_first.Request, _second.Request];
    }

    public override long WorkspaceBytes { get; }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public static CudaKernel? Create(Node node, CudaLimits limits) => new Reduce(node, limits);

    public override void Launch(CudaStream stream)
    {
        if (_outputs == 0) return;
        if (_second is null)
        {
            _first.Launch(stream, Function(), Out(0), In(0));
            return;
        }

        _first.Launch(stream, Function(), Workspace, In(0));
        _second.Launch(stream, Function(1), Out(0), Workspace);
    }

    private int Pieces(bool rows, long count)
    {
        var items = rows ? _outputs : (_outputs + 31) / 32;
        if (items >= EnoughItems || items == 0) return 1;
        return (int)Math.Clamp(Math.Min(count / PieceElements, EnoughItems / items), 1, EnoughItems);
    }

    private static KernelRequest Request(
        ReduceKind kind, bool rows, DType input, DType accumulator, DType output, int kept, int reduced, long count, bool wide)
    {
        var acc = KernelRequest.StorageType(accumulator);
        var lowest = accumulator switch
        {
            DType.F32 => "(-1.0f/0.0f)",
            DType.F64 => "(-1.0/0.0)",
            DType.I32 => "(-0x7fffffff-1)",
            DType.I64 => "(-0x7fffffffffffffffll-1)",
            _ => "0",
        };
        return new KernelRequest("reduce", rows ? "reduce_rows" : "reduce_columns")
        {
            GeneratedText = ReduceSource.Write(rows, kept, reduced, wide),
            Defines =
            [
                KernelRequest.Define("STORAGE", input), ("COMPUTE", acc), KernelRequest.Define("OUT", output),
                ("SUM", kind == ReduceKind.Sum ? "1" : "0"), ("EMPTY", kind == ReduceKind.Sum ? $"({acc})0" : lowest),
                KernelRequest.Define("GROUP", count <= 512 ? 32 : Threads),
            ],
            Fma = false,
        };
    }

    private static List<Axis> Axes(Shape shape, Ints reducedAxes)
    {
        var reduced = reducedAxes.ToHashSet();
        var strides = shape.Strides();
        var axes = new List<Axis>();
        for (var i = 0; i < shape.Rank; i++)
        {
            if (shape[i] == 1) continue;
            if (axes.Count > 0 && axes[^1].Reduced == reduced.Contains(i))
                axes[^1] = new Axis(axes[^1].Extent * shape[i], strides[i], axes[^1].Reduced);
            else axes.Add(new Axis(shape[i], strides[i], reduced.Contains(i)));
        }

        return axes;
    }

    private readonly record struct Axis(long Extent, long Stride, bool Reduced);

    /// <summary>One launch: its layout, sizes and shape.</summary>
    private sealed class Pass
    {
        private readonly Layout _layout;
        private readonly long _outputs;
        private readonly long _count;
        private readonly long _piece;
        private readonly long _pieces;
        private readonly LaunchShape _shape;

        public Pass(CudaLimits limits, bool rows, Axis[] kept, Axis[] reduced, long outputs, long count, int pieces)
        {
            long[] words = [.. kept.Select(a => a.Extent), .. kept.Select(a => a.Stride), .. reduced.Select(a => a.Extent), .. reduced.Select(a => a.Stride)];
            var layout = default(Layout);
            words.CopyTo((Span<long>)layout);
            _layout = layout;
            (_outputs, _count, _pieces) = (outputs, count, pieces);
            _piece = (count + pieces - 1) / pieces;
            var groups = count / pieces <= 512 ? 32 : Threads;
            _shape = rows
                ? new LaunchShape(new Dim3((uint)limits.Blocks(outputs * pieces * groups, Threads)), new Dim3(Threads))
                : new LaunchShape(new Dim3((uint)((outputs + 31) / 32), (uint)pieces), new Dim3(32, 8));
        }

        public required KernelRequest Request { get; init; }

        public void Launch(CudaStream stream, CudaFunction function, DevicePointer output, DevicePointer input)
        {
            var arguments = new KernelArguments();
            arguments.Add(output);
            arguments.Add(input);
            arguments.Add(_layout);
            arguments.Add(_outputs);
            arguments.Add(_count);
            arguments.Add(_piece);
            arguments.Add(_pieces);
            function.Launch(stream, _shape, ref arguments);
        }
    }

    [InlineArray(ReduceSource.LayoutWords)]
    private struct Layout
    {
        private long _first;
    }
}
