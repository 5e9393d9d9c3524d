using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Windows of 2 x 2 with step 2 in f32: neighbours of a row are split into left and right elements, eight windows at a time, or four
/// where a row has fewer than eight. The last step overlaps the one before it rather than being a partial one.
/// </summary>
internal static unsafe class PairColumns
{
    /// <summary>The fewest windows of a row.</summary>
    public const int Least = 4;

    private const int Wide = 8;

    /// <summary>The maxima of the windows of two rows and their places, the first of which is <paramref name="first"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Max(float* top, int width, int first, float* y, int* places, int count)
    {
        if (count < Wide)
        {
            for (var q = 0; ; q = count - Least)
            {
                var (left, right) = SplitFour(top + 2 * q);
                var (lowLeft, lowRight) = SplitFour(top + width + 2 * q);
                var here = Vector128.Create(first + 2 * q) + 2 * Vector128<int>.Indices;
                var (best, place) = (left, here);
                Take(ref best, ref place, right, here + Vector128<int>.One);
                Take(ref best, ref place, lowLeft, here + Vector128.Create(width));
                Take(ref best, ref place, lowRight, here + Vector128.Create(width + 1));
                best.Store(y + q);
                place.Store(places + q);
                if (q + Least == count) return;
            }
        }

        for (var q = 0; ; q = Math.Min(q + Wide, count - Wide))
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
            if (q + Wide == count) return;
        }
    }

    /// <summary>The gradients of the windows of two rows, each to the place of its maximum and zero to the other three.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Spread(float* dy, int* places, float* top, int width, int first, int count)
    {
        if (count < Wide)
        {
            for (var q = 0; ; q = count - Least)
            {
                var (value, place) = (Vector128.Load(dy + q), Vector128.Load(places + q));
                var here = Vector128.Create(first + 2 * q) + 2 * Vector128<int>.Indices;
                Join(Pick(value, place, here), Pick(value, place, here + Vector128<int>.One), top + 2 * q);
                here += Vector128.Create(width);
                Join(Pick(value, place, here), Pick(value, place, here + Vector128<int>.One), top + width + 2 * q);
                if (q + Least == count) return;
            }
        }

        for (var q = 0; ; q = Math.Min(q + Wide, count - Wide))
        {
            var (value, place) = (Vector256.Load(dy + q), Vector256.Load(places + q));
            var here = Vector256.Create(first + 2 * q) + 2 * Vector256<int>.Indices;
            Join(Pick(value, place, here), Pick(value, place, here + Vector256<int>.One), top + 2 * q);
            here += Vector256.Create(width);
            Join(Pick(value, place, here), Pick(value, place, here + Vector256<int>.One), top + width + 2 * q);
            if (q + Wide == count) return;
        }
    }

    /// <summary>The means of the windows of two rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Mean(float* top, int width, float* divisors, float* y, int count)
    {
        if (count < Wide)
        {
            for (var q = 0; ; q = count - Least)
            {
                var (left, right) = SplitFour(top + 2 * q);
                var (lowLeft, lowRight) = SplitFour(top + width + 2 * q);
                ((left + right + lowLeft + lowRight) / Vector128.Load(divisors + q)).Store(y + q);
                if (q + Least == count) return;
            }
        }

        for (var q = 0; ; q = Math.Min(q + Wide, count - Wide))
        {
            var (left, right) = Split(top + 2 * q);
            var (lowLeft, lowRight) = Split(top + width + 2 * q);
            ((left + right + lowLeft + lowRight) / Vector256.Load(divisors + q)).Store(y + q);
            if (q + Wide == count) return;
        }
    }

    /// <summary>Deals a row out: elements at even places to one row, those at odd ones to another.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Deal(float* source, int width, float* even, float* odd)
    {
        var pairs = 0;
        for (; pairs + Wide <= width / 2; pairs += Wide)
        {
            var (left, right) = Split(source + 2 * pairs);
            left.Store(even + pairs);
            right.Store(odd + pairs);
        }

        for (var w = 2 * pairs; w < width; w++) (w % 2 == 0 ? even : odd)[w / 2] = source[w];
    }

    /// <summary>The reverse of <see cref="Deal"/>: <paramref name="width"/> elements taken in turn from two rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gather(float* even, float* odd, float* target, int width)
    {
        var pairs = 0;
        for (; pairs + Wide <= width / 2; pairs += Wide) Join(Vector256.Load(even + pairs), Vector256.Load(odd + pairs), target + 2 * pairs);
        for (var w = 2 * pairs; w < width; w++) target[w] = (w % 2 == 0 ? even : odd)[w / 2];
    }

    /// <summary>The elements of sixteen at even places, and those at odd ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<float> Left, Vector256<float> Right) Split(float* row)
    {
        var order = Vector256.Create(0, 2, 4, 6, 1, 3, 5, 7);
        var first = Vector256.Shuffle(Vector256.Load(row), order);
        var second = Vector256.Shuffle(Vector256.Load(row + 8), order);
        return (Vector256.Create(first.GetLower(), second.GetLower()), Vector256.Create(first.GetUpper(), second.GetUpper()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector128<float> Left, Vector128<float> Right) SplitFour(float* row)
    {
        var both = Vector256.Shuffle(Vector256.Load(row), Vector256.Create(0, 2, 4, 6, 1, 3, 5, 7));
        return (both.GetLower(), both.GetUpper());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join(Vector256<float> left, Vector256<float> right, float* row)
    {
        Join(left.GetLower(), right.GetLower(), row);
        Join(left.GetUpper(), right.GetUpper(), row + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Join(Vector128<float> left, Vector128<float> right, float* row) =>
        Vector256.Shuffle(Vector256.Create(left, right), Vector256.Create(0, 4, 1, 5, 2, 6, 3, 7)).Store(row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Pick(Vector256<float> value, Vector256<int> place, Vector256<int> here) =>
        Vector256.Equals(place, here).AsSingle() & value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Pick(Vector128<float> value, Vector128<int> place, Vector128<int> here) =>
        Vector128.Equals(place, here).AsSingle() & value;

    /// <summary>A larger element or a NaN replaces the best one so far.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Take(ref Vector256<float> best, ref Vector256<int> place, Vector256<float> value, Vector256<int> here)
    {
        var mask = Vector256.GreaterThan(value, best) | ~Vector256.Equals(value, value);
        best = Vector256.ConditionalSelect(mask, value, best);
        place = Vector256.ConditionalSelect(mask.AsInt32(), here, place);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Take(ref Vector128<float> best, ref Vector128<int> place, Vector128<float> value, Vector128<int> here)
    {
        var mask = Vector128.GreaterThan(value, best) | ~Vector128.Equals(value, value);
        best = Vector128.ConditionalSelect(mask, value, best);
        place = Vector128.ConditionalSelect(mask.AsInt32(), here, place);
    }
}
