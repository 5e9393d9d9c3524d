using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Registers at the end of a range. The lanes beyond it are 0 when loaded and are not stored, so that a tail goes through the
/// same code as everything else and gets the same bits.
/// </summary>
internal static unsafe class Lanes
{
    /// <summary>Where a range is cut between workers: a cache line of any element type.</summary>
    public const int Grain = 64;

    /// <summary>The first <paramref name="count"/> lanes from memory, the others <paramref name="fill"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Load<T>(T* address, int count, T fill = default) where T : unmanaged =>
        count >= Vector512<T>.Count ? Vector512.Load(address) : Partial(address, count, fill);

    /// <summary>Stores the first <paramref name="count"/> lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(T* address, int count, Vector512<T> value) where T : unmanaged
    {
        if (count >= Vector512<T>.Count) value.Store(address);
        else PartialStore(address, count, value);
    }

    /// <summary>The first <paramref name="count"/> lanes, 0 in the others.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Keep<T>(Vector512<T> value, int count) where T : unmanaged =>
        count >= Vector512<T>.Count ? value : value & First<T>(count);

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector512<T> Partial<T>(T* address, int count, T fill) where T : unmanaged
    {
        if (Avx512F.IsSupported)
        {
            var others = Vector512.Create(fill);
            return typeof(T) == typeof(float)
                ? Avx512F.MaskLoad((float*)address, First<T>(count).AsSingle(), others.AsSingle()).As<float, T>()
                : Avx512F.MaskLoad((double*)address, First<T>(count).AsDouble(), others.AsDouble()).As<double, T>();
        }

        var buffer = stackalloc T[Vector512<T>.Count];
        for (var i = 0; i < Vector512<T>.Count; i++) buffer[i] = i < count ? address[i] : fill;
        return Vector512.Load(buffer);
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PartialStore<T>(T* address, int count, Vector512<T> value) where T : unmanaged
    {
        if (Avx512F.IsSupported)
        {
            if (typeof(T) == typeof(float)) Avx512F.MaskStore((float*)address, First<T>(count).AsSingle(), value.AsSingle());
            else Avx512F.MaskStore((double*)address, First<T>(count).AsDouble(), value.AsDouble());
            return;
        }

        var buffer = stackalloc T[Vector512<T>.Count];
        value.Store(buffer);
        for (var i = 0; i < count; i++) address[i] = buffer[i];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<T> First<T>(int count) where T : unmanaged => typeof(T) == typeof(float)
        ? Vector512.LessThan(Vector512<int>.Indices, Vector512.Create(count)).As<int, T>()
        : Vector512.LessThan(Vector512<long>.Indices, Vector512.Create((long)count)).As<long, T>();
}
