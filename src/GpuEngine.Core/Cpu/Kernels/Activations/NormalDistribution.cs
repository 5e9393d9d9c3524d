using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// The error function and the normal distribution of a register. The middle piece is erfc(x) = exp(-x^2) P(t) / (1 + 2x) with
/// t = (x - 3) / (x + 3), which maps x >= 0 to one interval on which P is smooth (Schonfelder 1978, "Chebyshev expansions for
/// the error and related functions"). The coefficients of P interpolate at Chebyshev points, computed with 60 digits; they are
/// off by 3e-9 (float, degree 10) and 3e-17 (double, degree 22) at most, relative.
/// </summary>
internal static class NormalDistribution
{
    /// <summary>erf(x): the Taylor series times x below 1/2, 1 - erfc beyond.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Erf<T>(Vector512<T> x) where T : unmanaged
    {
        var z = Vector512.Abs(x);
        // At 6 and beyond, erf is 1 to the last bit of a double.
        var capped = AtMost(z, 6);
        var square = capped * capped;
        var small = z * Series(square);
        var rest = Fma(capped, capped, -square);
        var large = All<T>(1) - Exp(-square) * (All<T>(1) - rest) * Tail(capped);
        return Select(Vector512.LessThan(z, All<T>(0.5)), small, large) | (x & All<T>(-0.0));
    }

    /// <summary>
    /// The distribution function Phi(x) = erfc(-x / sqrt(2)) / 2 and the density exp(-x^2 / 2) / sqrt(2 pi), with one
    /// exponential for both; the lower tail keeps its relative accuracy.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Phi<T>(Vector512<T> x, out Vector512<T> density) where T : unmanaged
    {
        // Beyond 40 both are 0; the square of a larger number could overflow.
        var z = AtMost(Vector512.Abs(x), 40);
        var square = z * z;
        var rest = Fma(z, z, -square);
        var e = Exp(All<T>(-0.5) * square) * Fma(rest, All<T>(-0.5), All<T>(1));
        density = e * All<T>(0.39894228040143268);
        var tail = All<T>(0.5) * e * Tail(z * All<T>(0.70710678118654752));
        return Select(Vector512.GreaterThan(x, Vector512<T>.Zero), All<T>(1) - tail, tail);
    }

    /// <summary>exp(x^2) erfc(x) for x >= 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Tail<T>(Vector512<T> x) where T : unmanaged
    {
        var sum = x + All<T>(3);
        var growth = Fma(x, All<T>(2), All<T>(1));
        // One division serves both quotients.
        var inverse = All<T>(1) / (sum * growth);
        var t = (x - All<T>(3)) * growth * inverse;
        Vector512<T> p;
        if (typeof(T) == typeof(float))
        {
            p = Fma(t, All<T>(-0.000277326922), All<T>(-0.000798339142));
            p = Fma(p, t, All<T>(0.00199447459));
            p = Fma(p, t, All<T>(0.00257943468));
            p = Fma(p, t, All<T>(-0.0237902342));
            p = Fma(p, t, All<T>(0.0682935098));
            p = Fma(p, t, All<T>(-0.119272653));
            p = Fma(p, t, All<T>(0.129646576));
            p = Fma(p, t, All<T>(-0.0475622805));
            p = Fma(p, t, All<T>(-0.135621143));
            p = Fma(p, t, All<T>(1.25300806));
        }
        else
        {
            p = Fma(t, All<T>(-4.17096781379482851e-9), All<T>(-8.40572180521488324e-9));
            p = Fma(p, t, All<T>(3.28524339817598733e-8));
            p = Fma(p, t, All<T>(9.15624423143498495e-8));
            p = Fma(p, t, All<T>(-1.31142987703078664e-7));
            p = Fma(p, t, All<T>(-6.04598067133669328e-7));
            p = Fma(p, t, All<T>(3.49132534322063767e-7));
            p = Fma(p, t, All<T>(3.46369010871842827e-6));
            p = Fma(p, t, All<T>(-7.27733169318920435e-7));
            p = Fma(p, t, All<T>(-0.0000200964889518068053));
            p = Fma(p, t, All<T>(4.94822524318831221e-6));
            p = Fma(p, t, All<T>(0.000125098110465905284));
            p = Fma(p, t, All<T>(-0.000105159514308020234));
            p = Fma(p, t, All<T>(-0.000779832030428455424));
            p = Fma(p, t, All<T>(0.00188869031639872202));
            p = Fma(p, t, All<T>(0.00252939178743923201));
            p = Fma(p, t, All<T>(-0.0237705149146893254));
            p = Fma(p, t, All<T>(0.0683080273458557419));
            p = Fma(p, t, All<T>(-0.11927366341550478));
            p = Fma(p, t, All<T>(0.129645158702704033));
            p = Fma(p, t, All<T>(-0.0475622943534468494));
            p = Fma(p, t, All<T>(-0.135621106124580672));
            p = Fma(p, t, All<T>(1.25300805826972964));
        }

        return p * sum * inverse;
    }

    /// <summary>erf(x) / x = 2 / sqrt(pi) sum of (-x^2)^n / (n! (2n + 1)), for x^2 up to 1/4: 7 terms for float, 12 for double.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Series<T>(Vector512<T> square) where T : unmanaged
    {
        Vector512<T> p;
        if (typeof(T) == typeof(float))
        {
            p = Fma(square, All<T>(0.000120553329817896643), All<T>(-0.000854832702345085283));
        }
        else
        {
            p = Fma(square, All<T>(-1.22905553017179274e-9), All<T>(1.48071928158792172e-8));
            p = Fma(p, square, All<T>(-1.63658446912349243e-7));
            p = Fma(p, square, All<T>(1.64621143658892474e-6));
            p = Fma(p, square, All<T>(-0.000014925650358406251));
            p = Fma(p, square, All<T>(0.000120553329817896643));
            p = Fma(p, square, All<T>(-0.000854832702345085283));
        }

        p = Fma(p, square, All<T>(0.00522397762544218784));
        p = Fma(p, square, All<T>(-0.0268661706451312518));
        p = Fma(p, square, All<T>(0.112837916709551257));
        p = Fma(p, square, All<T>(-0.376126389031837525));
        return Fma(p, square, All<T>(1.12837916709551257));
    }
}
