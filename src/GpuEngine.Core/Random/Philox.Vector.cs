using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace GpuEngine.Core.Random;

/// <summary>
/// Bulk words. A counter word sits in the low half of a 64-bit lane, because the hardware multiplies 32 x 32 -> 64
/// there; the high half may hold leftovers, since only low halves are ever multiplied or stored. Eight (AVX-512) or
/// four (AVX2) blocks go through the rounds together.
/// </summary>
public static unsafe partial class Philox
{
    /// <summary>
    /// Elements start .. start + count - 1 as raw words, see
    /// <see cref="FillBits(Span{uint}, ulong, uint, uint, long)"/>.
    /// </summary>
    public static void FillBits(uint* destination, long count, ulong seed, uint stream, uint offset, long start = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        var end = destination + count;
        var block = start >> 2;
        if ((start & 3) != 0)
        {
            destination = PartialBlock(destination, end, (int)(start & 3), block, seed, stream, offset);
            block++;
        }

        var whole = (end - destination) >> 2;
        var done = Avx512F.IsSupported ? Blocks512(destination, whole, block, seed, stream, offset)
            : Avx2.IsSupported ? Blocks256(destination, whole, block, seed, stream, offset)
            : 0;
        for (; done < whole; done++) PartialBlock(destination + (4 * done), end, 0, block + done, seed, stream, offset);
        destination += 4 * whole;
        if (destination < end) PartialBlock(destination, end, 0, block + whole, seed, stream, offset);
    }

    /// <summary>
    /// Writes words first .. 3 of a block, as far as there is room; returns where the next word goes.
    /// </summary>
    private static uint* PartialBlock(
        uint* destination, uint* end, int first, long block, ulong seed, uint stream, uint offset)
    {
        var (x, y, z, w) = ElementBlock(block, seed, stream, offset);
        var words = stackalloc uint[4] { x, y, z, w };
        for (var i = first; i < 4 && destination < end; i++) *destination++ = words[i];
        return destination;
    }

    /// <summary>Writes blocks in groups of 8; returns how many blocks are done.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long Blocks512(uint* destination, long blocks, long first, ulong seed, uint stream, uint offset)
    {
        const int Group = 8;
        // Unpacking takes lanes 0, 2, 4, 6 and then 1, 3, 5, 7; in this order of counters the words come out in place.
        var lanes = Vector512.Create(0UL, 4, 1, 5, 2, 6, 3, 7);
        var m0 = Vector512.Create((ulong)M0).AsUInt32();
        var m1 = Vector512.Create((ulong)M1).AsUInt32();
        var low = Vector512.Create(0xFFFFFFFFUL);
        long done = 0;
        for (; done + Group <= blocks; done += Group)
        {
            var counter = Vector512.Create((ulong)(first + done)) + lanes;
            var c0 = counter;
            var c1 = counter >>> 32;
            var c2 = Vector512.Create((ulong)stream);
            var c3 = Vector512.Create((ulong)offset);
            var k0 = (uint)seed;
            var k1 = (uint)(seed >> 32);
            for (var round = 0; round < Rounds; round++)
            {
                var p0 = Avx512F.Multiply(c0.AsUInt32(), m0);
                var p1 = Avx512F.Multiply(c2.AsUInt32(), m1);
                c0 = (p1 >>> 32) ^ c1 ^ Vector512.Create((ulong)k0);
                c1 = p1;
                c2 = (p0 >>> 32) ^ c3 ^ Vector512.Create((ulong)k1);
                c3 = p0;
                k0 += W0;
                k1 += W1;
            }

            var xy = (c0 & low) | (c1 << 32);
            var zw = (c2 & low) | (c3 << 32);
            Avx512F.UnpackLow(xy, zw).AsUInt32().Store(destination + (4 * done));
            Avx512F.UnpackHigh(xy, zw).AsUInt32().Store(destination + (4 * done) + 16);
        }

        return done;
    }

    /// <summary>Writes blocks in groups of 4; returns how many blocks are done.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long Blocks256(uint* destination, long blocks, long first, ulong seed, uint stream, uint offset)
    {
        const int Group = 4;
        var lanes = Vector256.Create(0UL, 2, 1, 3);
        var m0 = Vector256.Create((ulong)M0).AsUInt32();
        var m1 = Vector256.Create((ulong)M1).AsUInt32();
        var low = Vector256.Create(0xFFFFFFFFUL);
        long done = 0;
        for (; done + Group <= blocks; done += Group)
        {
            var counter = Vector256.Create((ulong)(first + done)) + lanes;
            var c0 = counter;
            var c1 = counter >>> 32;
            var c2 = Vector256.Create((ulong)stream);
            var c3 = Vector256.Create((ulong)offset);
            var k0 = (uint)seed;
            var k1 = (uint)(seed >> 32);
            for (var round = 0; round < Rounds; round++)
            {
                var p0 = Avx2.Multiply(c0.AsUInt32(), m0);
                var p1 = Avx2.Multiply(c2.AsUInt32(), m1);
                c0 = (p1 >>> 32) ^ c1 ^ Vector256.Create((ulong)k0);
                c1 = p1;
                c2 = (p0 >>> 32) ^ c3 ^ Vector256.Create((ulong)k1);
                c3 = p0;
                k0 += W0;
                k1 += W1;
            }

            var xy = (c0 & low) | (c1 << 32);
            var zw = (c2 & low) | (c3 << 32);
            Avx2.UnpackLow(xy, zw).AsUInt32().Store(destination + (4 * done));
            Avx2.UnpackHigh(xy, zw).AsUInt32().Store(destination + (4 * done) + 8);
        }

        return done;
    }
}
