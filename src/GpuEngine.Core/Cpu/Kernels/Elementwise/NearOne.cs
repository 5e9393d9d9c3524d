using System.Numerics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// exp(x) - 1 and log(1 + x) without the cancellation near 0 (Kahan's corrections, in Higham, "Accuracy and Stability of
/// Numerical Algorithms", sections 1.14.1 and 1.5 problem 1.5), computed in double and rounded once.
/// </summary>
internal static class NearOne
{
    public static T Expm1<T>(T value) where T : IBinaryFloatingPointIeee754<T>
    {
        var x = double.CreateTruncating(value);
        var u = Math.Exp(x);
        double y;
        if (u == 1) y = x;
        else if (u - 1 == -1) y = -1;
        else if (double.IsInfinity(u)) y = u;
        else y = (u - 1) * (x / Math.Log(u));
        return T.CreateTruncating(y);
    }

    public static T Log1p<T>(T value) where T : IBinaryFloatingPointIeee754<T>
    {
        var x = double.CreateTruncating(value);
        var u = 1 + x;
        double y;
        if (u == 1) y = x;
        else if (double.IsInfinity(u)) y = u;
        else y = Math.Log(u) * (x / (u - 1));
        return T.CreateTruncating(y);
    }
}
