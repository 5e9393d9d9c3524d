using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>Count, mean and sum of squared deviations of a register's worth of independent samples, merged pairwise.</summary>
internal readonly unsafe struct Moments<T, TVec, TSimd>(long count, TVec mean, TVec m2)
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    private readonly long _count = count;
    private readonly TVec _m2 = m2;

    public TVec Mean { get; } = mean;

    /// <summary>The biased variance.</summary>
    public TVec Variance => TSimd.Max(TSimd.Zero, Times(_m2, 1.0 / _count));

    /// <summary>From sums of x - shift and (x - shift)^2.</summary>
    public static Moments<T, TVec, TSimd> OfShifted(long count, TVec shift, TVec sum, TVec squares)
    {
        var offset = Times(sum, 1.0 / count);
        return new(count, TSimd.Add(shift, offset), TSimd.Subtract(squares, TSimd.Multiply(sum, offset)));
    }

    /// <summary>Chan, Golub and LeVeque 1983, equation 2.1, in the form for unequal counts.</summary>
    public Moments<T, TVec, TSimd> Merge(Moments<T, TVec, TSimd> other)
    {
        var total = _count + other._count;
        var delta = TSimd.Subtract(other.Mean, Mean);
        var mean = TSimd.Add(Mean, Times(delta, (double)other._count / total));
        var between = Times(TSimd.Multiply(delta, delta), (double)_count * other._count / total);
        return new(total, mean, TSimd.Add(TSimd.Add(_m2, other._m2), between));
    }

    private static TVec Times(TVec value, double factor)
    {
        var f = T.CreateTruncating(factor);
        return TSimd.Multiply(value, TSimd.Broadcast(&f));
    }
}
