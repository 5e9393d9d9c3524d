using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>An activation that the norm kernels apply in registers of any width.</summary>
internal interface IFusedActivation<T> where T : unmanaged
{
    /// <summary>True when there is nothing to apply, so the backward pass need not recompute the pre-activation.</summary>
    static abstract bool IsIdentity { get; }

    TVec Forward<TVec, TSimd>(TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>;

    /// <summary>dy f'(z).</summary>
    TVec Backward<TVec, TSimd>(TVec dy, TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>;
}

internal readonly struct NoActivation<T> : IFusedActivation<T> where T : unmanaged
{
    public static bool IsIdentity => true;

    public TVec Forward<TVec, TSimd>(TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => z;

    public TVec Backward<TVec, TSimd>(TVec dy, TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => dy;
}

/// <summary>max(z, 0), derivative 0 at 0; NaN stays NaN.</summary>
internal readonly struct ReluActivation<T> : IFusedActivation<T> where T : unmanaged
{
    public static bool IsIdentity => false;

    public TVec Forward<TVec, TSimd>(TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => TSimd.Max(TSimd.Zero, z);

    public TVec Backward<TVec, TSimd>(TVec dy, TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => TSimd.WherePositive(z, dy);
}
