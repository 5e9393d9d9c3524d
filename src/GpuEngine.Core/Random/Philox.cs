using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Core.Random;

/// <summary>
/// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
/// 3", SC 2011, section 3.3). A number is a pure function of (seed, stream, offset, element), so any thread of any
/// device can make any element, in any order, and get the same bits.
/// <para>
/// The contract for every device: element i of a tensor is word i % 4 of the block with counter
/// (c0, c1, c2, c3) = (low 32 bits of i / 4, high 32 bits of i / 4, stream, offset) and key (low, high) = seed.
/// <c>stream</c> tells consumers apart (a layer, a parameter, the shuffle); <c>offset</c> is what advances: a step, an
/// epoch.
/// </para>
/// </summary>
public static unsafe partial class Philox
{
    internal const uint M0 = 0xD2511F53;
    internal const uint M1 = 0xCD9E8D57;

    /// <summary>Weyl increments of the key: the golden ratio and sqrt(3) - 1, as in the paper.</summary>
    internal const uint W0 = 0x9E3779B9;
    internal const uint W1 = 0xBB67AE85;
    internal const int Rounds = 10;

    /// <summary>The four 32-bit words of one counter.</summary>
    public static (uint X, uint Y, uint Z, uint W) Block(ulong key, uint c0, uint c1, uint c2, uint c3)
    {
        var k0 = (uint)key;
        var k1 = (uint)(key >> 32);
        for (var round = 0; round < Rounds; round++)
        {
            var p0 = (ulong)M0 * c0;
            var p1 = (ulong)M1 * c2;
            c0 = (uint)(p1 >> 32) ^ c1 ^ k0;
            c1 = (uint)p1;
            c2 = (uint)(p0 >> 32) ^ c3 ^ k1;
            c3 = (uint)p0;
            k0 += W0;
            k1 += W1;
        }

        return (c0, c1, c2, c3);
    }

    /// <summary>A float in [0, 1) from the upper 24 bits; exact, so equal on every device.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToUniform(uint word) => (word >> 8) * (1f / (1 << 24));

    /// <summary>A double in [0, 1) from the upper 53 of 64 bits; exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double ToUniform(ulong bits) => (bits >> 11) * (1.0 / (1L << 53));

    /// <summary>
    /// Elements start .. start + destination.Length - 1 as raw words. Filling a tensor in any partition into ranges
    /// gives the same bits as filling it at once.
    /// </summary>
    public static void FillBits(Span<uint> destination, ulong seed, uint stream, uint offset, long start = 0)
    {
        fixed (uint* pointer = destination) FillBits(pointer, destination.Length, seed, stream, offset, start);
    }

    /// <summary>
    /// Elements start .. start + destination.Length - 1 as floats in [0, 1), see <see cref="ToUniform(uint)"/>.
    /// </summary>
    public static void FillUniform(Span<float> destination, ulong seed, uint stream, uint offset, long start = 0)
    {
        fixed (float* pointer = destination) FillUniform(pointer, destination.Length, seed, stream, offset, start);
    }

    /// <summary>Elements start .. start + count - 1 as floats in [0, 1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void FillUniform(float* destination, long count, ulong seed, uint stream, uint offset, long start = 0)
    {
        const int Chunk = 4096;   // converted while still in the first-level cache
        for (long done = 0; done < count; done += Chunk)
        {
            var floats = destination + done;
            var words = (uint*)floats;   // the words are written where the floats will stand
            var length = (int)Math.Min(Chunk, count - done);
            FillBits(words, length, seed, stream, offset, start + done);
            var i = 0;
            for (; i <= length - Vector256<uint>.Count; i += Vector256<uint>.Count)
            {
                var mantissa = (Vector256.Load(words + i) >>> 8).AsInt32();
                (Vector256.ConvertToSingle(mantissa) * (1f / (1 << 24))).Store(floats + i);
            }

            for (; i < length; i++) floats[i] = ToUniform(words[i]);
        }
    }

    /// <summary>
    /// Elements start .. start + destination.Length - 1 as doubles in [0, 1). A double takes two words: element i is
    /// made of word 2i (low) and word 2i + 1 (high) of the sequence.
    /// </summary>
    public static void FillUniform(Span<double> destination, ulong seed, uint stream, uint offset, long start = 0)
    {
        fixed (double* doubles = destination)
        {
            var bits = (ulong*)doubles;   // the words are written where the doubles will stand
            FillBits((uint*)bits, 2L * destination.Length, seed, stream, offset, 2 * start);
            for (var i = 0; i < destination.Length; i++) doubles[i] = ToUniform(bits[i]);
        }
    }

    /// <summary>
    /// A uniformly drawn order of 0 .. destination.Length - 1: Fisher and Yates (Durstenfeld's form) with unbiased
    /// bounded draws, see <see cref="PhiloxSequence.NextBelow"/>.
    /// </summary>
    public static void Permutation(Span<int> destination, ulong seed, uint stream, uint offset)
    {
        for (var i = 0; i < destination.Length; i++) destination[i] = i;
        var random = new PhiloxSequence(seed, stream, offset);
        for (var i = destination.Length - 1; i > 0; i--)
        {
            var j = (int)random.NextBelow((uint)i + 1);
            (destination[i], destination[j]) = (destination[j], destination[i]);
        }
    }

    internal static (uint X, uint Y, uint Z, uint W) ElementBlock(long block, ulong seed, uint stream, uint offset) =>
        Block(seed, (uint)block, (uint)((ulong)block >> 32), stream, offset);
}
