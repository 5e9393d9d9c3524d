using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>AVX-512: 32 registers; tiles of 14 x 32 in float, 14 x 16 in double.</summary>
internal readonly unsafe struct Avx512Simd<T> : ISimd<Vector512<T>, T>
    where T : unmanaged
{
    public static int Width => Vector512<T>.Count;

    public static int TileRows => 14;

    public static int TransposeRows => typeof(T) == typeof(float) ? 4 : 2;

    public static Vector512<T> Zero => Vector512<T>.Zero;

    public static Vector512<T> Load(T* address) => Vector512.Load(address);

    public static Vector512<T> Broadcast(T* address) => Vector512.Create(*address);

    public static void Prefetch(T* address) => Sse.Prefetch0(address);

    public static void Store(T* address, Vector512<T> value) => value.Store(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Mask(int lanes) => typeof(T) == typeof(float)
        ? Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(lanes)).As<int, T>()
        : Vector512.LessThan(Vector512<long>.Indices, Vector512.Create((long)lanes)).As<long, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> LoadMasked(T* address, Vector512<T> mask) => typeof(T) == typeof(float)
        ? Avx512F.MaskLoad((float*)address, mask.AsSingle(), Vector512<float>.Zero).As<float, T>()
        : Avx512F.MaskLoad((double*)address, mask.AsDouble(), Vector512<double>.Zero).As<double, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreMasked(T* address, Vector512<T> mask, Vector512<T> value)
    {
        if (typeof(T) == typeof(float)) Avx512F.MaskStore((float*)address, mask.AsSingle(), value.AsSingle());
        else Avx512F.MaskStore((double*)address, mask.AsDouble(), value.AsDouble());
    }

    public static Vector512<T> Add(Vector512<T> left, Vector512<T> right) => left + right;

    public static Vector512<T> Subtract(Vector512<T> left, Vector512<T> right) => left - right;

    public static Vector512<T> Multiply(Vector512<T> left, Vector512<T> right) => left * right;

    public static Vector512<T> Divide(Vector512<T> left, Vector512<T> right) => left / right;

    public static Vector512<T> Sqrt(Vector512<T> value) => Vector512.Sqrt(value);

    public static Vector512<T> WherePositive(Vector512<T> x, Vector512<T> value) => Vector512.AndNot(value, Vector512.LessThanOrEqual(x, Vector512<T>.Zero));

    // The instruction returns its second operand when the operands do not compare.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Max(Vector512<T> left, Vector512<T> right) => typeof(T) == typeof(float)
        ? Avx512F.Max(left.AsSingle(), right.AsSingle()).As<float, T>()
        : Avx512F.Max(left.AsDouble(), right.AsDouble()).As<double, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> MultiplyAdd(Vector512<T> left, Vector512<T> right, Vector512<T> addend) =>
        typeof(T) == typeof(float)
            ? Avx512F.FusedMultiplyAdd(left.AsSingle(), right.AsSingle(), addend.AsSingle()).As<float, T>()
            : Avx512F.FusedMultiplyAdd(left.AsDouble(), right.AsDouble(), addend.AsDouble()).As<double, T>();

    public static T Sum(Vector512<T> value) => Vector512.Sum(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(T** rows, T* destination, nint step)
    {
        if (typeof(T) == typeof(float)) Transpose((float**)rows, (float*)destination, step);
        else Transpose((double**)rows, (double*)destination, step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(float** rows, float* destination, nint step)
    {
        var r0 = Vector512.Load(rows[0]);
        var r1 = Vector512.Load(rows[1]);
        var r2 = Vector512.Load(rows[2]);
        var r3 = Vector512.Load(rows[3]);
        // 4 x 4 transposes inside each 128-bit lane: lane l of column c holds source column 4l + c.
        var low01 = Avx512F.UnpackLow(r0, r1).AsDouble();
        var low23 = Avx512F.UnpackLow(r2, r3).AsDouble();
        var high01 = Avx512F.UnpackHigh(r0, r1).AsDouble();
        var high23 = Avx512F.UnpackHigh(r2, r3).AsDouble();
        StoreLanes(Avx512F.UnpackLow(low01, low23).AsSingle(), destination, 4 * step);
        StoreLanes(Avx512F.UnpackHigh(low01, low23).AsSingle(), destination + step, 4 * step);
        StoreLanes(Avx512F.UnpackLow(high01, high23).AsSingle(), destination + (2 * step), 4 * step);
        StoreLanes(Avx512F.UnpackHigh(high01, high23).AsSingle(), destination + (3 * step), 4 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(double** rows, double* destination, nint step)
    {
        var r0 = Vector512.Load(rows[0]);
        var r1 = Vector512.Load(rows[1]);
        // Lane l of the first holds source column 2l, lane l of the second column 2l + 1.
        StoreLanes(Avx512F.UnpackLow(r0, r1), destination, 2 * step);
        StoreLanes(Avx512F.UnpackHigh(r0, r1), destination + step, 2 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreLanes<TElement>(Vector512<TElement> column, TElement* destination, nint step)
        where TElement : unmanaged
    {
        column.GetLower().GetLower().Store(destination);
        column.GetLower().GetUpper().Store(destination + step);
        column.GetUpper().GetLower().Store(destination + (2 * step));
        column.GetUpper().GetUpper().Store(destination + (3 * step));
    }
}
