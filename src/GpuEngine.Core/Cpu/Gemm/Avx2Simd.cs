using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>AVX2 with FMA: 16 registers; tiles of 6 x 16 in float, 6 x 8 in double.</summary>
internal readonly unsafe struct Avx2Simd<T> : ISimd<Vector256<T>, T>
    where T : unmanaged
{
    public static int Width => Vector256<T>.Count;

    public static int TileRows => 6;

    public static int TransposeRows => typeof(T) == typeof(float) ? 4 : 2;

    public static Vector256<T> Zero => Vector256<T>.Zero;

    public static Vector256<T> Load(T* address) => Vector256.Load(address);

    public static Vector256<T> Broadcast(T* address) => Vector256.Create(*address);

    public static void Prefetch(T* address) => Sse.Prefetch0(address);

    public static void Store(T* address, Vector256<T> value) => value.Store(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Mask(int lanes) => typeof(T) == typeof(float)
        ? Vector256.LessThan(Vector256<int>.Indices, Vector256.Create(lanes)).As<int, T>()
        : Vector256.LessThan(Vector256<long>.Indices, Vector256.Create((long)lanes)).As<long, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> LoadMasked(T* address, Vector256<T> mask) => typeof(T) == typeof(float)
        ? Avx.MaskLoad((float*)address, mask.AsSingle()).As<float, T>()
        : Avx.MaskLoad((double*)address, mask.AsDouble()).As<double, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreMasked(T* address, Vector256<T> mask, Vector256<T> value)
    {
        if (typeof(T) == typeof(float)) Avx.MaskStore((float*)address, mask.AsSingle(), value.AsSingle());
        else Avx.MaskStore((double*)address, mask.AsDouble(), value.AsDouble());
    }

    public static Vector256<T> Add(Vector256<T> left, Vector256<T> right) => left + right;

    public static Vector256<T> Subtract(Vector256<T> left, Vector256<T> right) => left - right;

    public static Vector256<T> Multiply(Vector256<T> left, Vector256<T> right) => left * right;

    public static Vector256<T> Divide(Vector256<T> left, Vector256<T> right) => left / right;

    public static Vector256<T> Sqrt(Vector256<T> value) => Vector256.Sqrt(value);

    public static Vector256<T> WherePositive(Vector256<T> x, Vector256<T> value) => Vector256.AndNot(value, Vector256.LessThanOrEqual(x, Vector256<T>.Zero));

    // The instruction returns its second operand when the operands do not compare.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Max(Vector256<T> left, Vector256<T> right) => typeof(T) == typeof(float)
        ? Avx.Max(left.AsSingle(), right.AsSingle()).As<float, T>()
        : Avx.Max(left.AsDouble(), right.AsDouble()).As<double, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> MultiplyAdd(Vector256<T> left, Vector256<T> right, Vector256<T> addend) =>
        typeof(T) == typeof(float)
            ? Fma.MultiplyAdd(left.AsSingle(), right.AsSingle(), addend.AsSingle()).As<float, T>()
            : Fma.MultiplyAdd(left.AsDouble(), right.AsDouble(), addend.AsDouble()).As<double, T>();

    public static T Sum(Vector256<T> value) => Vector256.Sum(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(T** rows, T* destination, nint step)
    {
        if (typeof(T) == typeof(float)) Transpose((float**)rows, (float*)destination, step);
        else Transpose((double**)rows, (double*)destination, step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(float** rows, float* destination, nint step)
    {
        var r0 = Vector256.Load(rows[0]);
        var r1 = Vector256.Load(rows[1]);
        var r2 = Vector256.Load(rows[2]);
        var r3 = Vector256.Load(rows[3]);
        // 4 x 4 transposes inside each 128-bit lane: lane l of column c holds source column 4l + c.
        var low01 = Avx.UnpackLow(r0, r1).AsDouble();
        var low23 = Avx.UnpackLow(r2, r3).AsDouble();
        var high01 = Avx.UnpackHigh(r0, r1).AsDouble();
        var high23 = Avx.UnpackHigh(r2, r3).AsDouble();
        StoreLanes(Avx.UnpackLow(low01, low23).AsSingle(), destination, 4 * step);
        StoreLanes(Avx.UnpackHigh(low01, low23).AsSingle(), destination + step, 4 * step);
        StoreLanes(Avx.UnpackLow(high01, high23).AsSingle(), destination + (2 * step), 4 * step);
        StoreLanes(Avx.UnpackHigh(high01, high23).AsSingle(), destination + (3 * step), 4 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(double** rows, double* destination, nint step)
    {
        var r0 = Vector256.Load(rows[0]);
        var r1 = Vector256.Load(rows[1]);
        // Lane l of the first holds source column 2l, lane l of the second column 2l + 1.
        StoreLanes(Avx.UnpackLow(r0, r1), destination, 2 * step);
        StoreLanes(Avx.UnpackHigh(r0, r1), destination + step, 2 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreLanes<TElement>(Vector256<TElement> column, TElement* destination, nint step)
        where TElement : unmanaged
    {
        column.GetLower().Store(destination);
        column.GetUpper().Store(destination + step);
    }
}
