using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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

/// <summary>max(z, 0), derivative 0 at 0; NaN stays NaN and passes the gradient.</summary>
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

/// <summary>
/// Any other activation. Functors are written for registers of 512 bits; a narrower register takes part of one, which is
/// right on every machine and fast where it matters.
/// </summary>
internal readonly struct FunctorActivation<T, TFunctor>(TFunctor functor) : IFusedActivation<T>
    where T : unmanaged
    where TFunctor : struct, IActivationFunctor<T>
{
    private readonly TFunctor _functor = functor;

    public static bool IsIdentity => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVec Forward<TVec, TSimd>(TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => Narrow<TVec>(_functor.Forward(Widen(z)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVec Backward<TVec, TSimd>(TVec dy, TVec z)
        where TVec : struct
        where TSimd : struct, ISimd<TVec, T> => TSimd.Multiply(dy, Narrow<TVec>(_functor.Derivative(Widen(z))));

    // The type tests are constants to the JIT: one line of each method remains.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> Widen<TVec>(TVec value) where TVec : struct
    {
        if (typeof(TVec) == typeof(Vector512<T>)) return Unsafe.BitCast<TVec, Vector512<T>>(value);
        if (typeof(TVec) == typeof(Vector256<T>)) return Unsafe.BitCast<TVec, Vector256<T>>(value).ToVector512();
        return Unsafe.BitCast<TVec, Vector<T>>(value).AsVector512();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Narrow<TVec>(Vector512<T> value) where TVec : struct
    {
        if (typeof(TVec) == typeof(Vector512<T>)) return Unsafe.BitCast<Vector512<T>, TVec>(value);
        if (typeof(TVec) == typeof(Vector256<T>)) return Unsafe.BitCast<Vector256<T>, TVec>(value.GetLower());
        return Unsafe.BitCast<Vector<T>, TVec>(value.AsVector());
    }
}
