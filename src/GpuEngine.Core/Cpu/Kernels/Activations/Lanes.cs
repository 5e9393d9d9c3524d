using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

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
    [SkipLocalsInit]
    public static Vector512<T> Load<T>(T* address, int count, T fill = default) where T : unmanaged
    {
        var buffer = stackalloc T[Vector512<T>.Count];
        for (var i = 0; i < Vector512<T>.Count; i++) buffer[i] = i < count ? address[i] : fill;
        return Vector512.Load(buffer);
    }

    [SkipLocalsInit]
    public static void Store<T>(T* address, int count, Vector512<T> value) where T : unmanaged
    {
        var buffer = stackalloc T[Vector512<T>.Count];
        value.Store(buffer);
        for (var i = 0; i < count; i++) address[i] = buffer[i];
    }
}
