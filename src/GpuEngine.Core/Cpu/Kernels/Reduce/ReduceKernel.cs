using System.Numerics;
using System.Numerics.Tensors;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Sum and maximum over any axes. After neighbouring axes of one kind are merged, the innermost axis is either reduced (each
/// output is a sum of runs) or kept (each run is added to a row of outputs). Long sums are cut into pieces of fixed length, so
/// the order of summation depends on the shape alone.
/// </summary>
internal static class ReduceKernel
{
    public static CpuKernel? Create(Node node, int workers)
    {
        var sum = ((ReduceOp)node.Op).Kind == ReduceKind.Sum;
        return node.Inputs[0].DType switch
        {
            DType.F32 => sum ? new ReduceKernel<float, SumOf<float>>(node) : new ReduceKernel<float, MaxOf<float>>(node),
            DType.F64 => sum ? new ReduceKernel<double, SumOf<double>>(node) : new ReduceKernel<double, MaxOf<double>>(node),
            DType.I32 => sum ? new ReduceKernel<int, SumOf<int>>(node) : null,
            DType.I64 => sum ? new ReduceKernel<long, SumOf<long>>(node) : null,
            _ => null,
        };
    }
}

/// <summary>How values are combined.</summary>
internal interface IReduction<T> where T : unmanaged
{
    static abstract T Empty { get; }

    static abstract T Combine(T a, T b);

    static abstract T Run(ReadOnlySpan<T> values);

    static abstract void Accumulate(ReadOnlySpan<T> values, Span<T> into);
}

internal readonly struct SumOf<T> : IReduction<T> where T : unmanaged, INumber<T>
{
    public static T Empty => T.Zero;

    public static T Combine(T a, T b) => a + b;

    public static T Run(ReadOnlySpan<T> values) => TensorPrimitives.Sum(values);

    public static void Accumulate(ReadOnlySpan<T> values, Span<T> into) => TensorPrimitives.Add(into, values, into);
}

internal readonly struct MaxOf<T> : IReduction<T> where T : unmanaged, IFloatingPointIeee754<T>
{
    public static T Empty => T.NegativeInfinity;

    public static T Combine(T a, T b) => T.Max(a, b);

    public static T Run(ReadOnlySpan<T> values) => values.Length == 0 ? Empty : TensorPrimitives.Max(values);

    public static void Accumulate(ReadOnlySpan<T> values, Span<T> into) => TensorPrimitives.Max(into, values, into);
}

internal sealed unsafe class ReduceKernel<T, TReduction> : CpuKernel where T : unmanaged, INumber<T> where TReduction : struct, IReduction<T>
{
    /// <summary>Elements of one piece of a long sum.</summary>
    private const int Piece = 8192;

    private readonly List<(int Extent, long InStride, bool Reduced)> _axes = [];
    private readonly long _outputs;
    private readonly long _elements;
    private readonly int _pieces;
    private readonly bool _innerReduced;

    public ReduceKernel(Node node)
    {
        var reduced = ((ReduceOp)node.Op).Axes.ToHashSet();
        var shape = node.Inputs[0].Shape;
        var strides = shape.Strides();
        for (var axis = 0; axis < shape.Rank; axis++)
        {
            if (shape[axis] == 1) continue;
            if (_axes.Count > 0 && _axes[^1].Reduced == reduced.Contains(axis))
                _axes[^1] = (_axes[^1].Extent * shape[axis], strides[axis], _axes[^1].Reduced);
            else
                _axes.Add((shape[axis], strides[axis], reduced.Contains(axis)));
        }

        if (_axes.Count == 0) _axes.Add((1, 1, false));
        _outputs = node.Outputs[0].Type.Elements;
        _elements = shape.Elements;
        _innerReduced = _axes[^1].Reduced;
        // Only the plain [kept, reduced] form is cut into pieces; with more axes there are outputs enough to share out.
        _pieces = _innerReduced && _axes.Count <= 2 ? (_axes[^1].Extent + Piece - 1) / Piece : 1;
    }

    public override long WorkspaceBytes => _pieces > 1 ? _outputs * _pieces * sizeof(T) : 0;

    protected override bool IsParallel => _elements >= 16384;

    public override void Run(CpuPool pool)
    {
        base.Run(pool);
        if (_pieces <= 1) return;
        var partial = (T*)Workspace;
        for (var o = 0L; o < _outputs; o++)
        {
            var value = partial[o * _pieces];
            for (var p = 1; p < _pieces; p++) value = TReduction.Combine(value, partial[o * _pieces + p]);
            Out<T>(0)[o] = value;
        }
    }

    public override void Execute(int worker, int workers)
    {
        if (_elements == 0) Fill(worker);
        else if (_pieces > 1) Pieces(worker, workers);
        else if (_innerReduced) Runs(worker, workers);
        else Rows(worker, workers);
    }

    private void Fill(int worker)
    {
        if (worker == 0) new Span<T>(Out<T>(0), (int)_outputs).Fill(TReduction.Empty);
    }

    private void Pieces(int worker, int workers)
    {
        var length = _axes[^1].Extent;
        var (start, end) = Share(_outputs * _pieces, worker, workers);
        for (var i = start; i < end; i++)
        {
            var (output, from) = (i / _pieces, (int)(i % _pieces) * Piece);
            ((T*)Workspace)[i] = TReduction.Run(new ReadOnlySpan<T>(In<T>(0) + output * length + from, Math.Min(Piece, length - from)));
        }
    }

    /// <summary>Innermost axis reduced: output by output, the runs that belong to it.</summary>
    private void Runs(int worker, int workers)
    {
        var (start, end) = Share(_outputs, worker, workers);
        for (var o = start; o < end; o++)
        {
            var first = In<T>(0) + Offset(o, false);
            var value = TReduction.Empty;
            for (var r = 0L; r < OuterReduced(); r++)
                value = TReduction.Combine(value, TReduction.Run(new ReadOnlySpan<T>(first + Offset(r, true), _axes[^1].Extent)));
            Out<T>(0)[o] = value;
        }
    }

    /// <summary>Innermost axis kept: a band of columns at a time, row after row.</summary>
    private void Rows(int worker, int workers)
    {
        const int Band = 256;
        var width = _axes[^1].Extent;
        var bands = (width + Band - 1) / Band;
        var (start, end) = Share(_outputs / width * bands, worker, workers);
        var count = OuterReduced();
        for (var i = start; i < end; i++)
        {
            var (outer, column) = (i / bands, (int)(i % bands) * Band);
            var n = Math.Min(Band, width - column);
            var first = In<T>(0) + Offset(outer * width, false) + column;
            var into = new Span<T>(Out<T>(0) + outer * width + column, n);
            into.Fill(TReduction.Empty);
            for (var r = 0L; r < count; r++) TReduction.Accumulate(new ReadOnlySpan<T>(first + Offset(r, true), n), into);
        }
    }

    /// <summary>Number of combinations of the reduced axes, the innermost axis excepted when it is reduced.</summary>
    private long OuterReduced()
    {
        var n = 1L;
        for (var i = 0; i < _axes.Count - (_innerReduced ? 1 : 0); i++)
        {
            if (_axes[i].Reduced) n *= _axes[i].Extent;
        }

        return n;
    }

    /// <summary>Where combination <paramref name="index"/> of the kept (or the outer reduced) axes starts.</summary>
    private long Offset(long index, bool reduced)
    {
        var offset = 0L;
        for (var i = _axes.Count - 1; i >= 0; i--)
        {
            if (_axes[i].Reduced != reduced || (reduced && _innerReduced && i == _axes.Count - 1)) continue;
            offset += index % _axes[i].Extent * _axes[i].InStride;
            index /= _axes[i].Extent;
        }

        return offset;
    }
}
