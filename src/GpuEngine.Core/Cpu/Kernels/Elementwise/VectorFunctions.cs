using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>A function of a register, as a type parameter.</summary>
internal interface IVectorFunction<T> where T : unmanaged
{
    static abstract Vector512<T> Apply(Vector512<T> x);
}

internal readonly struct ExpFunction<T> : IVectorFunction<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> x) => VectorMath.Exp(x);
}

internal readonly struct Expm1Function<T> : IVectorFunction<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> x) => VectorMath.Expm1(x);
}

internal readonly struct TanhFunction<T> : IVectorFunction<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> x) => VectorMath.Tanh(x);
}

internal readonly struct SigmoidFunction<T> : IVectorFunction<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> x) => VectorMath.Sigmoid(x, out _);
}

internal readonly struct ErfFunction<T> : IVectorFunction<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Apply(Vector512<T> x) => VectorMath.Erf(x);
}
