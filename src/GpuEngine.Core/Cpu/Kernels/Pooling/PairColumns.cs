using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Windows of 2 x 2 with step 2 in f32: sixteen neighbours of a row are split into eight left and eight right elements.</summary>
internal static unsafe class PairColumns
{
    /// <summary>Windows that one step takes.</summary>
    public const int Step = 8;

    /// <summary>The maxima of <paramref name="count"/> (at least 8) windows and their places, the first of which is <paramref name="first"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Max(float* top, int width, int first, float* y, int* places, int count)
    {
        for (var q = 0; ; q = Math.Min(q + Step, count - Step))
        {
            var (left, right) = Split(top + 2 * q);
            var (lowLeft, lowRight) = Split(top + width + 2 * q);
            var here = Vector256.Create(first + 2 * q) + 2 * Vector256<int>.Indices;
            var (best, place) = (left, here);
            Take(ref best, ref place, right, here + Vector256<int>.One);
            Take(ref best, ref place, lowLeft, here + Vector256.Create(width));
            Take(ref best, ref place, lowRight, here + Vector256.Create(width + 1));
            best.Store(y + q);
            place.Store(places + q);
            if (q + Step == count) break;
        }
    }

    /// <summary>The means of <paramref name="count"/> (at least 8) windows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Mean(float* top, int width, float* divisors, float* y, int count)
    {
        for (var q = 0; ; q = Math.Min(q + Step, count - Step))
        {
            var (left, right) = Split(top + 2 * q);
            var (lowLeft, lowRight) = Split(top + width + 2 * q);
            ((left + right + lowLeft + lowRight) / Vector256.Load(divisors + q)).Store(y + q);
            if (q + Step == count) break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<float> Left, Vector256<float> Right) Split(float* row)
    {
        var order = Vector256.Create(0, 2, 4, 6, 1, 3, 5, 7);
        var first = Vector256.Shuffle(Vector256.Load(row), order);
        var second = Vector256.Shuffle(Vector256.Load(row + 8), order);
        return (Vector256.Create(first.GetLower(), second.GetLower()), Vector256.Create(first.GetUpper(), second.GetUpper()));
    }

    /// <summary>A larger element or a NaN replaces the best one so far.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Take(ref Vector256<float> best, ref Vector256<int> place, Vector256<float> value, Vector256<int> here)
    {
        var mask = Vector256.GreaterThan(value, best) | ~Vector256.Equals(value, value);
        best = Vector256.ConditionalSelect(mask, value, best);
        place = Vector256.ConditionalSelect(mask.AsInt32(), here, place);
    }
}
