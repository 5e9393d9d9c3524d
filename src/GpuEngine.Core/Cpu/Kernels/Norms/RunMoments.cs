using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>Count, mean and sum of squared deviations; kept in double, which costs nothing at one merge per chunk.</summary>
internal readonly record struct Moments(long Count, double Mean, double M2)
{
    public double Variance => Math.Max(0, M2 / Count);

    /// <summary>Chan, Golub and LeVeque 1983, equation 2.1, in the form for unequal counts.</summary>
    public Moments Merge(Moments other)
    {
        if (Count == 0) return other;
        var total = Count + other.Count;
        var delta = other.Mean - Mean;
        return new(total, Mean + delta * other.Count / total, M2 + other.M2 + delta * delta * ((double)Count * other.Count / total));
    }
}

/// <summary>Sums of x - Pivot and its square; with a pivot near the mean nothing cancels when they become moments.</summary>
internal struct ShiftedSums
{
    public long Count;
    public double Pivot;
    public double Sum;
    public double Squares;

    public readonly Moments Moments => new(Count, Pivot + Sum / Count, Squares - Sum * Sum / Count);
}

/// <summary>
/// Statistics of contiguous stretches in two passes over a chunk that stays in the cache: the mean, then the deviations from it
/// (whose own sum corrects the rounding of the mean: Chan, Golub and LeVeque 1983, equation 1.7).
/// </summary>
internal static unsafe class RunMoments<T, TVec, TSimd>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    /// <summary>Elements of a chunk.</summary>
    public const int Chunk = 16384;

    /// <summary>One stretch of any length.</summary>
    public static Moments Of(T* x, long length, bool centred)
    {
        var all = default(Moments);
        for (var at = 0L; at < length; at += Chunk)
        {
            var part = (int)Math.Min(Chunk, length - at);
            var sums = centred ? About(x + at, part) : default;
            Add(ref sums, x + at, part);
            // Uncentred, the sums about 0 are what is wanted.
            all = centred ? all.Merge(sums.Moments) : new Moments(length, 0, all.M2 + sums.Squares);
        }

        return all;
    }

    /// <summary>Empty sums about the mean of a stretch (of its first chunk, if it is longer).</summary>
    public static ShiftedSums About(T* x, int length)
    {
        var part = Math.Min(length, Chunk);
        return new ShiftedSums { Pivot = double.CreateTruncating(T.CreateTruncating(Sum(x, part) / part)) };
    }

    /// <summary>Adds a stretch.</summary>
    public static void Add(ref ShiftedSums sums, T* x, int length)
    {
        var pivot = T.CreateTruncating(sums.Pivot);
        for (var at = 0; at < length; at += Chunk)
        {
            var (sum, squares) = Deviations(x + at, Math.Min(Chunk, length - at), pivot);
            sums.Sum += sum;
            sums.Squares += squares;
        }

        sums.Count += length;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static double Sum(T* x, int length)
    {
        var (s0, s1, s2, s3) = (TSimd.Zero, TSimd.Zero, TSimd.Zero, TSimd.Zero);
        var tail = length % TSimd.Width;
        var mask = TSimd.Mask(Math.Max(tail, 1));
        nint i = 0;
        for (; i + 4 * TSimd.Width <= length; i += 4 * TSimd.Width)
        {
            s0 = TSimd.Add(s0, TSimd.Load(x + i));
            s1 = TSimd.Add(s1, TSimd.Load(x + i + TSimd.Width));
            s2 = TSimd.Add(s2, TSimd.Load(x + i + 2 * TSimd.Width));
            s3 = TSimd.Add(s3, TSimd.Load(x + i + 3 * TSimd.Width));
        }

        for (; i + TSimd.Width <= length; i += TSimd.Width) s0 = TSimd.Add(s0, TSimd.Load(x + i));
        if (tail > 0) s1 = TSimd.Add(s1, TSimd.LoadMasked(x + i, mask));
        return double.CreateTruncating(TSimd.Sum(TSimd.Add(TSimd.Add(s0, s1), TSimd.Add(s2, s3))));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static (double Sum, double Squares) Deviations(T* x, int length, T pivot)
    {
        var (s0, s1) = (TSimd.Zero, TSimd.Zero);
        var (q0, q1) = (TSimd.Zero, TSimd.Zero);
        var p = TSimd.Broadcast(&pivot);
        var tail = length % TSimd.Width;
        var mask = TSimd.Mask(Math.Max(tail, 1));
        // In masked-off lanes x reads as zero; the pivot must be zero there too.
        T* lanes = stackalloc T[TSimd.Width];
        TSimd.Store(lanes, p);
        var tailPivot = TSimd.LoadMasked(lanes, mask);
        nint i = 0;
        for (; i + 2 * TSimd.Width <= length; i += 2 * TSimd.Width)
        {
            var d0 = TSimd.Subtract(TSimd.Load(x + i), p);
            var d1 = TSimd.Subtract(TSimd.Load(x + i + TSimd.Width), p);
            (s0, s1) = (TSimd.Add(s0, d0), TSimd.Add(s1, d1));
            (q0, q1) = (TSimd.MultiplyAdd(d0, d0, q0), TSimd.MultiplyAdd(d1, d1, q1));
        }

        for (; i + TSimd.Width <= length; i += TSimd.Width)
        {
            var d = TSimd.Subtract(TSimd.Load(x + i), p);
            (s0, q0) = (TSimd.Add(s0, d), TSimd.MultiplyAdd(d, d, q0));
        }

        if (tail > 0)
        {
            var d = TSimd.Subtract(TSimd.LoadMasked(x + i, mask), tailPivot);
            (s1, q1) = (TSimd.Add(s1, d), TSimd.MultiplyAdd(d, d, q1));
        }

        return (double.CreateTruncating(TSimd.Sum(TSimd.Add(s0, s1))), double.CreateTruncating(TSimd.Sum(TSimd.Add(q0, q1))));
    }
}
