using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using static System.Runtime.Intrinsics.Vector512;

namespace GpuEngine.Core.Cpu.Kernels;

// The double forms. Written out and not generic: the JIT inlines only so much into one loop, and intrinsics count for nothing.
internal static partial class VectorMath
{
    /// <inheritdoc cref="Exp{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Exp(Vector512<double> x)
    {
        // Beyond these the result is 0 or infinity anyway; NaN, as the second operand, passes.
        x = MinNative(Create(710.0), MaxNative(Create(-747.0), x));
        var n = Round(x * Create(1.4426950408889634));
        var p = ExpReduced(x, n) + Vector512<double>.One;
        if (Avx512F.IsSupported) return Avx512F.Scale(p, n);
        // In two steps, because one power of two would leave the range of normal numbers.
        var half = Round(n * Create(0.5));
        return p * PowerOfTwo(half) * PowerOfTwo(n - half);
    }

    /// <inheritdoc cref="Expm1{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Expm1(Vector512<double> x)
    {
        // Below -40 the result is -1 to the last bit of a double.
        x = MinNative(Create(710.0), MaxNative(Create(-40.0), x));
        var n = Round(x * Create(1.4426950408889634));
        var p = ExpReduced(x, n);
        // 2^n p + (2^n - 1), in halves because 2^n alone may overflow; exact for n = 0, and p is small against 2^n otherwise.
        var half = PowerOfTwo(n - Vector512<double>.One);
        var result = FusedMultiplyAdd(half, p, half - Create(0.5));
        return result + result;
    }

    /// <inheritdoc cref="Log1pUnit{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> Log1pUnit(Vector512<double> u)
    {
        var large = GreaterThan(u, Create(0.41421356237309503));
        var w = ConditionalSelect(large, (u - Vector512<double>.One) * Create(0.5), u);
        // |s| <= 0.1716, so the first term left out, s^23 / 23, is below 2^-62.
        var s = w / (w + Create(2.0));
        var q = s * s;
        var series = FusedMultiplyAdd(q, Create(1.0 / 21), Create(1.0 / 19));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 17));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 15));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 13));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 11));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 9));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 7));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 5));
        series = FusedMultiplyAdd(series, q, Create(1.0 / 3));
        var twice = s + s;
        var log = FusedMultiplyAdd(twice * q, series, twice);
        return ConditionalSelect(large, log + Create(0.69314718055994531), log);
    }

    /// <summary>
    /// exp(x^2) erfc(x) for x >= 0, as P(t) / (1 + 2x) with t = (x - 3) / (x + 3), which maps x >= 0 to one interval on which P is
    /// smooth (Schonfelder 1978). P interpolates at Chebyshev points, computed with 60 digits; it is off by 3e-17 at most,
    /// relative.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> ErfcScaled(Vector512<double> x)
    {
        var sum = x + Create(3.0);
        var growth = x + x + Vector512<double>.One;
        // One division serves both quotients.
        var inverse = Vector512<double>.One / (sum * growth);
        var t = (x - Create(3.0)) * growth * inverse;
        var p = FusedMultiplyAdd(t, Create(-4.17096781379482851e-9), Create(-8.40572180521488324e-9));
        p = FusedMultiplyAdd(p, t, Create(3.28524339817598733e-8));
        p = FusedMultiplyAdd(p, t, Create(9.15624423143498495e-8));
        p = FusedMultiplyAdd(p, t, Create(-1.31142987703078664e-7));
        p = FusedMultiplyAdd(p, t, Create(-6.04598067133669328e-7));
        p = FusedMultiplyAdd(p, t, Create(3.49132534322063767e-7));
        p = FusedMultiplyAdd(p, t, Create(3.46369010871842827e-6));
        p = FusedMultiplyAdd(p, t, Create(-7.27733169318920435e-7));
        p = FusedMultiplyAdd(p, t, Create(-0.0000200964889518068053));
        p = FusedMultiplyAdd(p, t, Create(4.94822524318831221e-6));
        p = FusedMultiplyAdd(p, t, Create(0.000125098110465905284));
        p = FusedMultiplyAdd(p, t, Create(-0.000105159514308020234));
        p = FusedMultiplyAdd(p, t, Create(-0.000779832030428455424));
        p = FusedMultiplyAdd(p, t, Create(0.00188869031639872202));
        p = FusedMultiplyAdd(p, t, Create(0.00252939178743923201));
        p = FusedMultiplyAdd(p, t, Create(-0.0237705149146893254));
        p = FusedMultiplyAdd(p, t, Create(0.0683080273458557419));
        p = FusedMultiplyAdd(p, t, Create(-0.11927366341550478));
        p = FusedMultiplyAdd(p, t, Create(0.129645158702704033));
        p = FusedMultiplyAdd(p, t, Create(-0.0475622943534468494));
        p = FusedMultiplyAdd(p, t, Create(-0.135621106124580672));
        p = FusedMultiplyAdd(p, t, Create(1.25300805826972964));
        return p * sum * inverse;
    }

    /// <summary>erf(x) / x = 2 / sqrt(pi) sum of (-x^2)^n / (n! (2n + 1)), for x^2 up to 1/4.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> ErfSeries(Vector512<double> square)
    {
        var p = FusedMultiplyAdd(square, Create(-1.22905553017179274e-9), Create(1.48071928158792172e-8));
        p = FusedMultiplyAdd(p, square, Create(-1.63658446912349243e-7));
        p = FusedMultiplyAdd(p, square, Create(1.64621143658892474e-6));
        p = FusedMultiplyAdd(p, square, Create(-0.000014925650358406251));
        p = FusedMultiplyAdd(p, square, Create(0.000120553329817896643));
        p = FusedMultiplyAdd(p, square, Create(-0.000854832702345085283));
        p = FusedMultiplyAdd(p, square, Create(0.00522397762544218784));
        p = FusedMultiplyAdd(p, square, Create(-0.0268661706451312518));
        p = FusedMultiplyAdd(p, square, Create(0.112837916709551257));
        p = FusedMultiplyAdd(p, square, Create(-0.376126389031837525));
        p = FusedMultiplyAdd(p, square, Create(1.12837916709551257));
        return p;
    }

    /// <summary>
    /// e^r - 1 for r = x - n ln 2, |r| at most ln 2 / 2, by its Taylor series, which ends where the next term is below half a
    /// unit: r^14 / 14! is 4e-18.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> ExpReduced(Vector512<double> x, Vector512<double> n)
    {
        // ln 2 in two parts, the first short enough that n times it is exact.
        var r = FusedMultiplyAdd(n, Create(-0.69314718036912382), x);
        r = FusedMultiplyAdd(n, Create(-1.9082149292705877e-10), r);
        var q = FusedMultiplyAdd(r, Create(1.0 / 6227020800), Create(1.0 / 479001600));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 39916800));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 3628800));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 362880));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 40320));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 5040));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 720));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 120));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 24));
        q = FusedMultiplyAdd(q, r, Create(1.0 / 6));
        q = FusedMultiplyAdd(q, r, Create(0.5));
        return FusedMultiplyAdd(r * r, q, r);
    }

    /// <summary>2^n for integral n in the range of normal numbers: added to 1.5 2^52, n stands in the low bits of the sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<double> PowerOfTwo(Vector512<double> n) => ((n + Create(6755399441055744.0 + 1023)).AsInt64() << 52).AsDouble();
}
