using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>
/// The Euclidean norm of all gradients, and of their segments, in one read: pieces of fixed length are summed by whoever comes to them and
/// then added up in order, so the bits do not depend on the workers. Squares are summed in double: f32 gradients cannot overflow it.
/// </summary>
internal sealed unsafe class ClipGradNormKernel<T>(Node node) : CpuKernel where T : unmanaged, INumberBase<T>
{
    private const int Piece = 16384;

    private readonly ClipGradNormOp _op = (ClipGradNormOp)node.Op;
    private readonly (int Input, long At, int Count, int Segment)[] _pieces = [.. Pieces(node)];

    public override long WorkspaceBytes => _pieces.Length * sizeof(double);

    protected override bool IsParallel => _pieces.Length > 1;

    public override void Run(CpuPool pool)
    {
        base.Run(pool);
        var sum = 0.0;
        for (var i = 0; i < _pieces.Length; i++) sum += ((double*)Workspace)[i];
        if (typeof(T) == typeof(float)) Finish((float)Math.Sqrt(sum), (float)_op.MaxNorm, 1e-6f);
        else Finish(Math.Sqrt(sum), _op.MaxNorm, 1e-6);
        if (_op.Segments.Count > 0) FinishSegments();
    }

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_pieces.Length, worker, workers);
        for (var i = start; i < end; i++)
        {
            var (input, at, count, _) = _pieces[i];
            ((double*)Workspace)[i] = SumOfSquares(In<T>(input) + at, count);
        }
    }

    /// <summary>No piece reaches from one gradient, or one segment, into the next.</summary>
    private static IEnumerable<(int Input, long At, int Count, int Segment)> Pieces(Node node)
    {
        var op = (ClipGradNormOp)node.Op;
        var ends = op.SegmentEnds([.. node.Inputs.Select(t => t.Type)]);
        var (segment, start) = (0, 0L);
        for (var input = 0; input < node.Inputs.Count; input++)
        {
            var length = node.Inputs[input].Type.Elements;
            for (var at = 0L; at < length;)
            {
                while (segment + 1 < op.Segments.Count && ends[segment + 1] <= start + at) segment++;
                var end = op.Segments.Count == 0 ? length : Math.Min(length, ends[segment + 1] - start);
                var count = (int)Math.Min(Piece, end - at);
                yield return (input, at, count, segment);
                at += count;
            }

            start += length;
        }
    }

    private void FinishSegments()
    {
        var squares = Out<double>(3);
        new Span<double>(squares, _op.Segments.Count).Clear();
        for (var i = 0; i < _pieces.Length; i++) squares[_pieces[i].Segment] += ((double*)Workspace)[i];
        for (var s = 0; s < _op.Segments.Count; s++)
            Out<bool>(4)[s] = typeof(T) == typeof(float) ? float.IsFinite((float)Math.Sqrt(squares[s])) : double.IsFinite(Math.Sqrt(squares[s]));
    }

    private void Finish<TScalar>(TScalar norm, TScalar limit, TScalar guard) where TScalar : unmanaged, IFloatingPointIeee754<TScalar>
    {
        *Out<TScalar>(0) = norm;
        *Out<TScalar>(1) = _op.Inclusive
            ? norm < limit ? TScalar.One : limit / norm
            : TScalar.Min(limit / (norm + guard), TScalar.One);
        *Out<bool>(2) = TScalar.IsFinite(norm);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double SumOfSquares(T* values, int count)
    {
        Vector<double> s0 = default, s1 = default;
        var i = 0;
        if (typeof(T) == typeof(float))
        {
            var floats = (float*)values;
            for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector.Widen(Vector.Load(floats + i), out var low, out var high);
                s0 = Vector.FusedMultiplyAdd(low, low, s0);
                s1 = Vector.FusedMultiplyAdd(high, high, s1);
            }
        }
        else
        {
            var doubles = (double*)values;
            for (; i <= count - 2 * Vector<double>.Count; i += 2 * Vector<double>.Count)
            {
                var (low, high) = (Vector.Load(doubles + i), Vector.Load(doubles + i + Vector<double>.Count));
                s0 = Vector.FusedMultiplyAdd(low, low, s0);
                s1 = Vector.FusedMultiplyAdd(high, high, s1);
            }
        }

        var sum = Vector.Sum(s0 + s1);
        for (; i < count; i++)
        {
            var x = double.CreateTruncating(values[i]);
            sum += x * x;
        }

        return sum;
    }
}

/// <summary>Entries cut to a range, in one pass.</summary>
internal sealed unsafe class ClipGradValueKernel<T>(Node node) : CpuKernel where T : unmanaged, IFloatingPointIeee754<T>
{
    private const int Grain = 4096;

    private readonly long _elements = node.Inputs[0].Type.Elements;
    private readonly T _limit = T.CreateTruncating(((ClipGradValueOp)node.Op).ClipValue);

    protected override bool IsParallel => _elements >= 4 * Grain;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_elements, worker, workers, Grain);
        var (low, high) = (new Vector<T>(-_limit), new Vector<T>(_limit));
        T* x = In<T>(0), y = Out<T>(0);
        var i = start;
        for (; i <= end - Vector<T>.Count; i += Vector<T>.Count) Vector.Min(Vector.Max(Vector.Load(x + i), low), high).Store(y + i);
        for (; i < end; i++) y[i] = T.Min(T.Max(x[i], -_limit), _limit);
    }
}
