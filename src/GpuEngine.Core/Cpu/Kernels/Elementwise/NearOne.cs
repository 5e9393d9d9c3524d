using System.Numerics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// log(1 + x) without the cancellation near 0 (Kahan's correction, in Higham, "Accuracy and Stability of Numerical Algorithms",
/// problem 1.5), computed in double and rounded once.
/// </summary>
internal static class NearOne
{
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
