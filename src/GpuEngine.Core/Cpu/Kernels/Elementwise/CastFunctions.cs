using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Conversions between all dtypes on short contiguous tiles.</summary>
internal static unsafe class CastFunctions
{
    public static delegate*<void*, void*, void*, void*, int, void> Find(DType from, DType to) => from switch
    {
        DType.F32 => From<float>(to),
        DType.F64 => From<double>(to),
        DType.BF16 => From<Bf16>(to),
        DType.I32 => From<int>(to),
        DType.I64 => From<long>(to),
        _ => From<byte>(to),
    };

    private static delegate*<void*, void*, void*, void*, int, void> From<TFrom>(DType to) where TFrom : unmanaged => to switch
    {
        DType.F32 => &Convert<TFrom, float>,
        DType.F64 => &Convert<TFrom, double>,
        DType.BF16 => &Convert<TFrom, Bf16>,
        DType.I32 => &Convert<TFrom, int>,
        DType.I64 => &Convert<TFrom, long>,
        DType.U8 => &Convert<TFrom, byte>,
        _ => &ToBool<TFrom>,
    };

    private static void Convert<TFrom, TTo>(void* o, void* a, void* b, void* c, int n) where TFrom : unmanaged where TTo : unmanaged
    {
        for (var i = 0; i < n; i++) ((TTo*)o)[i] = One<TFrom, TTo>(((TFrom*)a)[i]);
    }

    private static void ToBool<TFrom>(void* o, void* a, void* b, void* c, int n) where TFrom : unmanaged
    {
        for (var i = 0; i < n; i++) ((bool*)o)[i] = One<TFrom, double>(((TFrom*)a)[i]) != 0;
    }

    // The type tests are constants to the JIT, so each instance is one conversion instruction.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TTo One<TFrom, TTo>(TFrom x) where TFrom : unmanaged where TTo : unmanaged
    {
        if (typeof(TFrom) == typeof(float)) return FromNumber<float, TTo>(Unsafe.As<TFrom, float>(ref x));
        if (typeof(TFrom) == typeof(double)) return FromNumber<double, TTo>(Unsafe.As<TFrom, double>(ref x));
        if (typeof(TFrom) == typeof(int)) return FromNumber<int, TTo>(Unsafe.As<TFrom, int>(ref x));
        if (typeof(TFrom) == typeof(long)) return FromNumber<long, TTo>(Unsafe.As<TFrom, long>(ref x));
        if (typeof(TFrom) == typeof(byte)) return FromNumber<byte, TTo>(Unsafe.As<TFrom, byte>(ref x));
        return FromNumber<float, TTo>(Unsafe.As<TFrom, Bf16>(ref x).ToSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TTo FromNumber<TNumber, TTo>(TNumber x) where TNumber : unmanaged, INumber<TNumber> where TTo : unmanaged
    {
        if (typeof(TTo) == typeof(float)) return As<float, TTo>(float.CreateTruncating(x));
        if (typeof(TTo) == typeof(double)) return As<double, TTo>(double.CreateTruncating(x));
        if (typeof(TTo) == typeof(int)) return As<int, TTo>(int.CreateSaturating(x));
        if (typeof(TTo) == typeof(long)) return As<long, TTo>(long.CreateSaturating(x));
        if (typeof(TTo) == typeof(byte)) return As<byte, TTo>(byte.CreateTruncating(long.CreateSaturating(x)));
        return As<Bf16, TTo>(Bf16.FromSingle(float.CreateTruncating(x)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TTo As<T, TTo>(T x) where T : unmanaged where TTo : unmanaged => Unsafe.As<T, TTo>(ref x);
}
