using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using static System.Runtime.Intrinsics.Vector512;

namespace GpuEngine.Core.Cpu.Kernels;

// The float forms. Written out and not generic: the JIT inlines only so much into one loop, and intrinsics count for nothing.
internal static partial class VectorMath
{
    /// <inheritdoc cref="Exp{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Exp(Vector512<float> x)
    {
        // Beyond these the result is 0 or infinity anyway; NaN, as the second operand, passes.
        x = MinNative(Create(89f), MaxNative(Create(-105f), x));
        var n = Round(x * Create(1.4426950408889634f));
        var p = ExpReduced(x, n) + Vector512<float>.One;
        if (Avx512F.IsSupported) return Avx512F.Scale(p, n);
        // In two steps, because one power of two would leave the range of normal numbers.
        var half = Round(n * Create(0.5f));
        return p * PowerOfTwo(half) * PowerOfTwo(n - half);
    }

    /// <inheritdoc cref="Expm1{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Expm1(Vector512<float> x)
    {
        // Below -40 the result is -1 to the last bit of a double.
        x = MinNative(Create(89f), MaxNative(Create(-40f), x));
        var n = Round(x * Create(1.4426950408889634f));
        var p = ExpReduced(x, n);
        // 2^n p + (2^n - 1), in halves because 2^n alone may overflow; exact for n = 0, and p is small against 2^n otherwise.
        var half = PowerOfTwo(n - Vector512<float>.One);
        var result = FusedMultiplyAdd(half, p, half - Create(0.5f));
        return result + result;
    }

    /// <inheritdoc cref="Log1pUnit{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Log1pUnit(Vector512<float> u)
    {
        var large = GreaterThan(u, Create(0.41421356237309503f));
        var w = ConditionalSelect(large, (u - Vector512<float>.One) * Create(0.5f), u);
        // |s| <= 0.1716, so the first term left out, s^13 / 13, is below 2^-34.
        var s = w / (w + Create(2f));
        var q = s * s;
        var series = FusedMultiplyAdd(q, Create(1f / 11), Create(1f / 9));
        series = FusedMultiplyAdd(series, q, Create(1f / 7));
        series = FusedMultiplyAdd(series, q, Create(1f / 5));
        series = FusedMultiplyAdd(series, q, Create(1f / 3));
        var twice = s + s;
        var log = FusedMultiplyAdd(twice * q, series, twice);
        return ConditionalSelect(large, log + Create(0.69314718055994531f), log);
    }

    /// <summary>
    /// exp(x^2) erfc(x) for x >= 0, as P(t) / (1 + 2x) with t = (x - 3) / (x + 3), which maps x >= 0 to one interval on which P is
    /// smooth (Schonfelder 1978). P interpolates at Chebyshev points, computed with 60 digits; it is off by 3e-9 at most,
    /// relative.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> ErfcScaled(Vector512<float> x)
    {
        var sum = x + Create(3f);
        var growth = x + x + Vector512<float>.One;
        // One division serves both quotients.
        var inverse = Vector512<float>.One / (sum * growth);
        var t = (x - Create(3f)) * growth * inverse;
        var p = FusedMultiplyAdd(t, Create(-0.000277326922f), Create(-0.000798339142f));
        p = FusedMultiplyAdd(p, t, Create(0.00199447459f));
        p = FusedMultiplyAdd(p, t, Create(0.00257943468f));
        p = FusedMultiplyAdd(p, t, Create(-0.0237902342f));
        p = FusedMultiplyAdd(p, t, Create(0.0682935098f));
        p = FusedMultiplyAdd(p, t, Create(-0.119272653f));
        p = FusedMultiplyAdd(p, t, Create(0.129646576f));
        p = FusedMultiplyAdd(p, t, Create(-0.0475622805f));
        p = FusedMultiplyAdd(p, t, Create(-0.135621143f));
        p = FusedMultiplyAdd(p, t, Create(1.25300806f));
        return p * sum * inverse;
    }

    /// <summary>erf(x) / x = 2 / sqrt(pi) sum of (-x^2)^n / (n! (2n + 1)), for x^2 up to 1/4.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> ErfSeries(Vector512<float> square)
    {
        var p = FusedMultiplyAdd(square, Create(0.000120553329817896643f), Create(-0.000854832702345085283f));
        p = FusedMultiplyAdd(p, square, Create(0.00522397762544218784f));
        p = FusedMultiplyAdd(p, square, Create(-0.0268661706451312518f));
        p = FusedMultiplyAdd(p, square, Create(0.112837916709551257f));
        p = FusedMultiplyAdd(p, square, Create(-0.376126389031837525f));
        p = FusedMultiplyAdd(p, square, Create(1.12837916709551257f));
        return p;
    }

    /// <summary>
    /// e^r - 1 for r = x - n ln 2, |r| at most ln 2 / 2, by its Taylor series, which ends where the next term is below half a
    /// unit: r^8 / 8! is 5e-9.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> ExpReduced(Vector512<float> x, Vector512<float> n)
    {
        // ln 2 in two parts, the first short enough that n times it is exact.
        var r = FusedMultiplyAdd(n, Create(-0.693145751953125f), x);
        r = FusedMultiplyAdd(n, Create(-1.42860682030941723e-6f), r);
        var q = FusedMultiplyAdd(r, Create(1f / 5040), Create(1f / 720));
        q = FusedMultiplyAdd(q, r, Create(1f / 120));
        q = FusedMultiplyAdd(q, r, Create(1f / 24));
        q = FusedMultiplyAdd(q, r, Create(1f / 6));
        q = FusedMultiplyAdd(q, r, Create(0.5f));
        return FusedMultiplyAdd(r * r, q, r);
    }

    /// <summary>2^n for integral n in the range of normal numbers: added to 1.5 2^23, n stands in the low bits of the sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> PowerOfTwo(Vector512<float> n) => ((n + Create(12582912f + 127)).AsInt32() << 23).AsSingle();
}
