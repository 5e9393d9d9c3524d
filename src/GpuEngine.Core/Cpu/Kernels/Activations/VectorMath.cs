using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Elementary functions of a register of floats or doubles, accurate to a few units in the last place, results near 0 included,
/// and the same bits on every processor: everything is made of correctly rounded operations. The type tests are constants to
/// the JIT. Where the hardware has narrower registers, the runtime splits a Vector512 in halves.
/// </summary>
internal static class VectorMath
{
    /// <summary>The constant in every lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> All<T>(double value) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector512.Create((float)value).As<float, T>()
        : Vector512.Create(value).As<double, T>();

    /// <summary>a b + c, rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Fma<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector512.FusedMultiplyAdd(a.AsSingle(), b.AsSingle(), c.AsSingle()).As<float, T>()
        : Vector512.FusedMultiplyAdd(a.AsDouble(), b.AsDouble(), c.AsDouble()).As<double, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Select<T>(Vector512<T> condition, Vector512<T> yes, Vector512<T> no) where T : unmanaged =>
        Vector512.ConditionalSelect(condition, yes, no);

    /// <summary>The larger of the two; NaN when x is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> AtLeast<T>(Vector512<T> x, double floor) where T : unmanaged
    {
        var limit = All<T>(floor);
        return Select(Vector512.LessThan(x, limit), limit, x);
    }

    /// <summary>The smaller of the two; NaN when x is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> AtMost<T>(Vector512<T> x, double ceiling) where T : unmanaged
    {
        var limit = All<T>(ceiling);
        return Select(Vector512.GreaterThan(x, limit), limit, x);
    }

    /// <summary>e^x, with gradual underflow.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Exp<T>(Vector512<T> x) where T : unmanaged
    {
        var single = typeof(T) == typeof(float);
        // Beyond these the result is 0 or infinity anyway.
        x = AtMost(AtLeast(x, single ? -105 : -747), single ? 89 : 710);
        var p = ExpReduced(x, out var n);
        return Scale(p + All<T>(1), n);
    }

    /// <summary>e^x - 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Expm1<T>(Vector512<T> x) where T : unmanaged
    {
        // Below -40 the result is -1 to the last bit of a double.
        x = AtMost(AtLeast(x, -40), typeof(T) == typeof(float) ? 89 : 710);
        var p = ExpReduced(x, out var n);
        // 2^n p + (2^n - 1), in halves because 2^n alone may overflow; exact for n = 0, and p is small against 2^n otherwise.
        var half = PowerOfTwo(n - All<T>(1));
        return Fma(half, p, half - All<T>(0.5)) * All<T>(2);
    }

    /// <summary>log(1 + u) for u in [0, 1]: twice the series of artanh(s), s = u / (2 + u), after a halving of 1 + u above sqrt(2).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Log1pUnit<T>(Vector512<T> u) where T : unmanaged
    {
        var large = Vector512.GreaterThan(u, All<T>(0.41421356237309503));
        var w = Select(large, (u - All<T>(1)) * All<T>(0.5), u);
        // |s| <= 0.1716, so the first term left out is below 2^-27 (float, s^12 / 13) and 2^-60 (double, s^22 / 23).
        var s = w / (w + All<T>(2));
        var q = s * s;
        Vector512<T> series;
        if (typeof(T) == typeof(float))
        {
            series = Fma(q, All<T>(1.0 / 11), All<T>(1.0 / 9));
        }
        else
        {
            series = Fma(q, All<T>(1.0 / 21), All<T>(1.0 / 19));
            series = Fma(series, q, All<T>(1.0 / 17));
            series = Fma(series, q, All<T>(1.0 / 15));
            series = Fma(series, q, All<T>(1.0 / 13));
            series = Fma(series, q, All<T>(1.0 / 11));
            series = Fma(series, q, All<T>(1.0 / 9));
        }

        series = Fma(series, q, All<T>(1.0 / 7));
        series = Fma(series, q, All<T>(1.0 / 5));
        series = Fma(series, q, All<T>(1.0 / 3));
        var twice = s + s;
        var log = Fma(twice * q, series, twice);
        return Select(large, log + All<T>(0.69314718055994531), log);
    }

    /// <summary>1 / (1 + e^-x) and what is missing to 1, both to full relative accuracy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Sigmoid<T>(Vector512<T> x, out Vector512<T> complement) where T : unmanaged
    {
        var e = Exp(-Vector512.Abs(x));
        var large = All<T>(1) / (e + All<T>(1));
        var small = e * large;
        var positive = Vector512.GreaterThan(x, Vector512<T>.Zero);
        complement = Select(positive, small, large);
        return Select(positive, large, small);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Tanh<T>(Vector512<T> x) where T : unmanaged
    {
        var m = Expm1(All<T>(-2) * Vector512.Abs(x));
        var t = -m / (m + All<T>(2));
        return t | (x & All<T>(-0.0));
    }

    /// <summary>max(x, 0) + log(1 + e^-|x|) = log(1 + e^x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Softplus<T>(Vector512<T> x) where T : unmanaged =>
        AtLeast(x, 0) + Log1pUnit(Exp(-Vector512.Abs(x)));

    /// <summary>
    /// x = n ln 2 + r with |r| at most ln 2 / 2; returns e^r - 1 by its Taylor series, which ends where the next term is below
    /// half a unit: r^8 / 8! is 5e-9 (float), r^14 / 14! is 4e-18 (double).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> ExpReduced<T>(Vector512<T> x, out Vector512<T> n) where T : unmanaged
    {
        n = Round(x * All<T>(1.4426950408889634));
        Vector512<T> r, q;
        if (typeof(T) == typeof(float))
        {
            // ln 2 in two parts, the first short enough that n times it is exact.
            r = Fma(n, All<T>(-0.693145751953125), x);
            r = Fma(n, All<T>(-1.42860682030941723e-6), r);
            q = Fma(r, All<T>(1.0 / 5040), All<T>(1.0 / 720));
        }
        else
        {
            r = Fma(n, All<T>(-0.69314718036912382), x);
            r = Fma(n, All<T>(-1.9082149292705877e-10), r);
            q = Fma(r, All<T>(1.0 / 6227020800), All<T>(1.0 / 479001600));
            q = Fma(q, r, All<T>(1.0 / 39916800));
            q = Fma(q, r, All<T>(1.0 / 3628800));
            q = Fma(q, r, All<T>(1.0 / 362880));
            q = Fma(q, r, All<T>(1.0 / 40320));
            q = Fma(q, r, All<T>(1.0 / 5040));
            q = Fma(q, r, All<T>(1.0 / 720));
        }

        q = Fma(q, r, All<T>(1.0 / 120));
        q = Fma(q, r, All<T>(1.0 / 24));
        q = Fma(q, r, All<T>(1.0 / 6));
        q = Fma(q, r, All<T>(0.5));
        return Fma(r * r, q, r);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Round<T>(Vector512<T> x) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector512.Round(x.AsSingle()).As<float, T>()
        : Vector512.Round(x.AsDouble()).As<double, T>();

    /// <summary>p 2^n; in two steps where one power would leave the range of normal numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Scale<T>(Vector512<T> p, Vector512<T> n) where T : unmanaged
    {
        if (Avx512F.IsSupported)
        {
            return typeof(T) == typeof(float)
                ? Avx512F.Scale(p.AsSingle(), n.AsSingle()).As<float, T>()
                : Avx512F.Scale(p.AsDouble(), n.AsDouble()).As<double, T>();
        }

        var half = Round(n * All<T>(0.5));
        return p * PowerOfTwo(half) * PowerOfTwo(n - half);
    }

    /// <summary>2^n for integral n in the range of normal numbers, by way of the exponent's bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> PowerOfTwo<T>(Vector512<T> n) where T : unmanaged
    {
        // Added to 1.5 2^23 (2^52), the integer stands in the low bits of the sum; the shift drops the rest.
        return typeof(T) == typeof(float)
            ? (((n.AsSingle() + Vector512.Create(12582912f + 127)).AsInt32()) << 23).As<int, T>()
            : (((n.AsDouble() + Vector512.Create(6755399441055744.0 + 1023)).AsInt64()) << 52).As<long, T>();
    }
}
