using System.Numerics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// erf(x) in double to a few units in the last place: the Maclaurin series for small |x| and a continued fraction of erfc for
/// large (Abramowitz and Stegun 7.1.5/7.1.6 and 7.1.14), rounded once to the asked type.
/// </summary>
internal static unsafe class ErrorFunction
{
    private const double TwoOverRootPi = 1.1283791670955125739;

    public static void Tile<T>(void* o, void* a, void* b, void* c, int n) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        for (var i = 0; i < n; i++) ((T*)o)[i] = T.CreateTruncating(Erf(double.CreateTruncating(((T*)a)[i])));
    }

    public static double Erf(double x)
    {
        var z = Math.Abs(x);
        if (double.IsNaN(x)) return x;
        if (z >= 6) return Math.Sign(x);
        if (z < 2.4) return Series(x);
        return Math.Sign(x) * (1 - ComplementFraction(z));
    }

    /// <summary>2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!: all terms positive, so nothing cancels.</summary>
    private static double Series(double x)
    {
        var square = x * x;
        var (term, sum) = (1.0, 1.0);
        for (var n = 1; n < 200 && term > sum * 1e-18; n++)
        {
            term *= 2 * square / (2 * n + 1);
            sum += term;
        }

        return TwoOverRootPi * x * Math.Exp(-square) * sum;
    }

    /// <summary>erfc(z) by its continued fraction, evaluated from the back; 60 terms suffice for z of 2.4 and more.</summary>
    private static double ComplementFraction(double z)
    {
        var f = z;
        for (var n = 60; n >= 1; n--) f = z + n / 2.0 / f;
        return Math.Exp(-z * z) / (f * Math.Sqrt(Math.PI));
    }
}
