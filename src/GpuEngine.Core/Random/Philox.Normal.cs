using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Core.Random;

/// <summary>
/// Standard normal numbers by Box and Muller (1958), in double. Block j gives u1 in (0, 1] (words 0, 1) and u2 in
/// [0, 1) (words 2, 3); elements 2j and 2j + 1 are sqrt(-2 ln u1) times cos and sin of 2 pi u2. Meant for weight
/// initialisation, which runs on the host only: ln, sin and cos are not bit-equal across devices.
/// </summary>
public static unsafe partial class Philox
{
    /// <summary>
    /// Elements are always computed in these aligned groups, so that the bits do not depend on the range asked for.
    /// </summary>
    private const int NormalGroup = 16;

    /// <summary>Elements start .. start + destination.Length - 1, mean 0, variance 1.</summary>
    public static void FillNormal(Span<double> destination, ulong seed, uint stream, uint offset, long start = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        var values = stackalloc double[NormalGroup];
        var filled = 0;
        while (filled < destination.Length)
        {
            var skip = (int)((start + filled) % NormalGroup);
            var count = Math.Min(NormalGroup - skip, destination.Length - filled);
            NormalsOfGroup(values, (start + filled) / NormalGroup, seed, stream, offset);
            new Span<double>(values + skip, count).CopyTo(destination[filled..]);
            filled += count;
        }
    }

    /// <summary>The same numbers rounded to float.</summary>
    public static void FillNormal(Span<float> destination, ulong seed, uint stream, uint offset, long start = 0)
    {
        const int Chunk = 16 * NormalGroup;
        var wide = stackalloc double[Chunk];
        for (var done = 0; done < destination.Length; done += Chunk)
        {
            var count = Math.Min(Chunk, destination.Length - done);
            FillNormal(new Span<double>(wide, count), seed, stream, offset, start + done);
            for (var i = 0; i < count; i++) destination[done + i] = (float)wide[i];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void NormalsOfGroup(double* values, long group, ulong seed, uint stream, uint offset)
    {
        const int Pairs = NormalGroup / 2;
        var bits = stackalloc ulong[NormalGroup];
        FillBits((uint*)bits, 2 * NormalGroup, seed, stream, offset, group * 2 * NormalGroup);
        var u1 = stackalloc double[Pairs];
        var u2 = stackalloc double[Pairs];
        for (var j = 0; j < Pairs; j++)
        {
            u1[j] = 1 - ToUniform(bits[2 * j]);   // exact, and never 0
            u2[j] = ToUniform(bits[(2 * j) + 1]);
        }

        // The runtime's vector functions are the same code on every operating system, unlike the C library's.
        var radius = Vector512.Sqrt(-2.0 * Vector512.Log(Vector512.Load(u1)));
        var (sin, cos) = Vector512.SinCos(2 * Math.PI * Vector512.Load(u2));
        (radius * cos).Store(u1);
        (radius * sin).Store(u2);
        for (var j = 0; j < Pairs; j++)
        {
            values[2 * j] = u1[j];
            values[(2 * j) + 1] = u2[j];
        }
    }
}
