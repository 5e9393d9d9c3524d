using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Optimizers;

/// <summary>
/// The Euclidean norm of all gradients in one read: pieces of fixed length are summed by whoever comes to them and then added
/// up in order, so the bits do not depend on the workers. Squares are summed in double: f32 gradients cannot overflow it.
/// </summary>
internal sealed unsafe class ClipGradNormKernel<T>(Node node) : CpuKernel where T : unmanaged, INumberBase<T>
{
    private const int Piece = 16384;

    private readonly ClipGradNormOp _op = (ClipGradNormOp)node.Op;
    private readonly long[] _lengths = [.. node.Inputs.Select(t => t.Type.Elements)];
    private readonly long _pieces = node.Inputs.Sum(t => (t.Type.Elements + Piece - 1) / Piece);

    public override long WorkspaceBytes => _pieces * sizeof(double);

    protected override bool IsParallel => _pieces > 1;

    public override void Run(CpuPool pool)
    {
        base.Run(pool);
        var sum = 0.0;
        for (var i = 0L; i < _pieces; i++) sum += ((double*)Workspace)[i];
        if (typeof(T) == typeof(float)) Finish((float)Math.Sqrt(sum), (float)_op.MaxNorm, 1e-6f);
        else Finish(Math.Sqrt(sum), _op.MaxNorm, 1e-6);
    }

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_pieces, worker, workers);
        var first = 0L;
        for (var input = 0; input < _lengths.Length; input++)
        {
            var count = (_lengths[input] + Piece - 1) / Piece;
            for (var piece = Math.Max(start, first); piece < Math.Min(end, first + count); piece++)
            {
                var at = (piece - first) * Piece;
                ((double*)Workspace)[piece] = SumOfSquares(In<T>(input) + at, (int)Math.Min(Piece, _lengths[input] - at));
            }

            first += count;
        }
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
