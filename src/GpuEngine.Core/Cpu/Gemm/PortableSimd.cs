using System.Numerics;
using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>Whatever <see cref="Vector{T}"/> is on this machine, without instructions of one vendor.</summary>
internal readonly unsafe struct PortableSimd<T> : ISimd<Vector<T>, T>
    where T : unmanaged, INumber<T>
{
    public static int Width => Vector<T>.Count;

    public static int TileRows => 6;

    public static int TransposeRows => 1;

    public static Vector<T> Zero => Vector<T>.Zero;

    public static Vector<T> Load(T* address) => Vector.Load(address);

    public static Vector<T> Broadcast(T* address) => new(*address);

    public static void Prefetch(T* address)
    {
    }

    public static void Store(T* address, Vector<T> value) => Vector.Store(value, address);

    public static Vector<T> Mask(int lanes) =>
        Vector.LessThan(Vector<T>.Indices, new Vector<T>(T.CreateTruncating(lanes)));

    // Vector<T> has no masked access, so the tail goes lane by lane; the mask's lanes are a prefix.
    public static Vector<T> LoadMasked(T* address, Vector<T> mask)
    {
        var value = Vector<T>.Zero;
        for (var i = 0; i < Width && IsSet(mask, i); i++) value = value.WithElement(i, address[i]);
        return value;
    }

    public static void StoreMasked(T* address, Vector<T> mask, Vector<T> value)
    {
        for (var i = 0; i < Width && IsSet(mask, i); i++) address[i] = value[i];
    }

    public static Vector<T> Add(Vector<T> left, Vector<T> right) => left + right;

    public static Vector<T> Subtract(Vector<T> left, Vector<T> right) => left - right;

    public static Vector<T> Multiply(Vector<T> left, Vector<T> right) => left * right;

    public static Vector<T> Divide(Vector<T> left, Vector<T> right) => left / right;

    public static Vector<T> Sqrt(Vector<T> value) => Vector.SquareRoot(value);

    public static Vector<T> WherePositive(Vector<T> x, Vector<T> value) => Vector.AndNot(value, Vector.LessThanOrEqual(x, Vector<T>.Zero));

    public static Vector<T> Max(Vector<T> left, Vector<T> right) =>
        Vector.ConditionalSelect(Vector.GreaterThan(left, right), left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<T> MultiplyAdd(Vector<T> left, Vector<T> right, Vector<T> addend)
    {
        // The estimate is an FMA where the machine has one and two roundings elsewhere, never the slow exact emulation.
        if (typeof(T) == typeof(float))
        {
            return Vector.MultiplyAddEstimate(
                left.As<T, float>(), right.As<T, float>(), addend.As<T, float>()).As<float, T>();
        }
        if (typeof(T) == typeof(double))
        {
            return Vector.MultiplyAddEstimate(
                left.As<T, double>(), right.As<T, double>(), addend.As<T, double>()).As<double, T>();
        }
        return (left * right) + addend;
    }

    public static T Sum(Vector<T> value) => Vector.Sum(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(T** rows, T* destination, nint step)
    {
        var row = rows[0];
        for (var j = 0; j < Vector<T>.Count; j++) destination[j * step] = row[j];
    }

    private static bool IsSet(Vector<T> mask, int lane) => !T.IsZero(mask[lane]);
}
