using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>The activations that the norm kernels apply in registers.</summary>
internal interface IFusedActivation
{
    /// <summary>True when there is nothing to apply, so the backward pass need not recompute the pre-activation.</summary>
    static abstract bool IsIdentity { get; }

    static abstract TVec Forward<T, TVec, TSimd>(TVec z)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>;

    /// <summary>dy f'(z).</summary>
    static abstract TVec Backward<T, TVec, TSimd>(TVec dy, TVec z)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T>;
}

internal readonly struct NoActivation : IFusedActivation
{
    public static bool IsIdentity => true;

    public static TVec Forward<T, TVec, TSimd>(TVec z)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => z;

    public static TVec Backward<T, TVec, TSimd>(TVec dy, TVec z)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => dy;
}

/// <summary>max(z, 0), derivative 0 at 0; NaN stays NaN.</summary>
internal readonly struct ReluActivation : IFusedActivation
{
    public static bool IsIdentity => false;

    public static TVec Forward<T, TVec, TSimd>(TVec z)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => TSimd.Max(TSimd.Zero, z);

    public static TVec Backward<T, TVec, TSimd>(TVec dy, TVec z)
        where T : unmanaged
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => TSimd.WherePositive(z, dy);
}
