using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Softmax and what is made of it treat lines: all elements along one axis. The tensor is taken as [outer, Length, inner]. Where
/// inner is 1 a register holds neighbours on one line, else the same place of neighbouring lines.
/// </summary>
internal abstract unsafe class LineKernel<T> : CpuKernel where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Elements that are summed in T before the sum goes into a double.</summary>
    private const int SumBlock = 1024;

    private readonly long _items;

    protected LineKernel(Shape shape, int axis)
    {
        Length = shape[axis];
        Inner = shape.Product(axis + 1, shape.Rank);
        var outer = shape.Product(0, axis);
        Lines = outer * Inner;
        Blocks = (Inner + Vector512<T>.Count - 1) / Vector512<T>.Count;
        _items = Inner == 1 ? outer : outer * Blocks;
    }

    protected int Length { get; }

    /// <summary>Elements between neighbours on a line.</summary>
    protected long Inner { get; }

    protected long Lines { get; }

    private long Blocks { get; }

    protected override bool IsParallel => Lines * Length >= 8192;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_items, worker, workers);
        for (var item = start; item < end; item++)
        {
            if (Inner == 1)
            {
                Line(item, item * Length);
                continue;
            }

            var (outer, column) = (item / Blocks, item % Blocks * Vector512<T>.Count);
            Columns(outer * Inner + column, outer * Length * Inner + column, (int)Math.Min(Vector512<T>.Count, Inner - column));
        }
    }

    /// <summary>Line number <paramref name="line"/>, its elements at <paramref name="at"/> and following.</summary>
    protected abstract void Line(long line, long at);

    /// <summary><paramref name="count"/> neighbouring lines; the first has its elements at <paramref name="at"/>, at + Inner, ...</summary>
    protected abstract void Columns(long line, long at, int count);

    /// <summary>The maximum of a line; NaN elements may be passed over, the sum of exponentials shows them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected T Max(T* x)
    {
        var lowest = T.NegativeInfinity;
        // The tail comes first, here and below: what is live across a call is not kept in a register.
        var whole = Length / Vector512<T>.Count * Vector512<T>.Count;
        var max = whole < Length ? Lanes.Load(x + whole, Length - whole, lowest) : Vector512.Create(lowest);
        for (var i = 0; i < whole; i += Vector512<T>.Count) max = Larger(Vector512.Load(x + i), max);
        var result = max[0];
        for (var lane = 1; lane < Vector512<T>.Count; lane++) result = max[lane] > result ? max[lane] : result;
        return result;
    }

    /// <summary>The sum of exp(x - max) of a line; with <paramref name="y"/> the terms are stored as well.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected double SumExp(T* x, T max, T* y)
    {
        var total = 0.0;
        var whole = Length / Vector512<T>.Count * Vector512<T>.Count;
        if (whole < Length)
        {
            // exp(-infinity) adds nothing beyond the end. Against a maximum of -infinity it is NaN, as the whole line then is.
            var e = Exp(Lanes.Load(x + whole, Length - whole, T.NegativeInfinity) - Vector512.Create(max));
            total = double.CreateTruncating(Vector512.Sum(e));
            if (y != null) Lanes.Store(y + whole, Length - whole, e);
        }

        var shift = Vector512.Create(max);
        for (var block = 0; block < whole; block += SumBlock)
        {
            var sum = Vector512<T>.Zero;
            var end = Math.Min(block + SumBlock, whole);
            for (var i = block; i < end; i += Vector512<T>.Count)
            {
                var e = Exp(Vector512.Load(x + i) - shift);
                sum += e;
                if (y != null) e.Store(y + i);
            }

            total += double.CreateTruncating(Vector512.Sum(sum));
        }

        return total;
    }

    /// <summary>The maxima of neighbouring lines.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected Vector512<T> MaxColumns(T* x, int count)
    {
        var max = Vector512.Create(T.NegativeInfinity);
        for (var i = 0; i < Length; i++) max = Larger(max, Lanes.Load(x + i * Inner, count));
        return max;
    }

    /// <summary>The sums of exp(x - max) of neighbouring lines; with <paramref name="y"/> the terms are stored as well.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected Vector512<T> SumExpColumns(T* x, Vector512<T> max, int count, T* y)
    {
        var total = Vector512<T>.Zero;
        for (var block = 0; block < Length; block += SumBlock)
        {
            var sum = Vector512<T>.Zero;
            for (var i = block; i < Math.Min(block + SumBlock, Length); i++)
            {
                var e = Exp(Lanes.Load(x + i * Inner, count) - max);
                sum += e;
                if (y != null) Lanes.Store(y + i * Inner, count, e);
            }

            total += sum;
        }

        return total;
    }

    /// <summary>The natural logarithm of every lane; one line's worth of work stands behind each.</summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected static Vector512<T> Log(Vector512<T> x)
    {
        var lanes = stackalloc T[Vector512<T>.Count];
        for (var i = 0; i < Vector512<T>.Count; i++) lanes[i] = T.CreateTruncating(Math.Log(double.CreateTruncating(x[i])));
        return Vector512.Load(lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Larger(Vector512<T> a, Vector512<T> b) => Vector512.ConditionalSelect(Vector512.GreaterThan(b, a), b, a);
}
