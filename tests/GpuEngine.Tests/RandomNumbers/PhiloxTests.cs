using GpuEngine.Core.Random;
using Xunit;

namespace GpuEngine.Tests.RandomNumbers;

public class PhiloxTests
{
    // Random123 1.14, tests/kat_vectors, lines "philox4x32 10".
    [Theory]
    [InlineData(0UL, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(
        ulong.MaxValue, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu,
        0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(
        0x299f31d0_a4093822UL, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u,
        0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Agrees_with_the_published_known_answers(
        ulong key, uint c0, uint c1, uint c2, uint c3, uint x, uint y, uint z, uint w) =>
        Assert.Equal((x, y, z, w), Philox.Block(key, c0, c1, c2, c3));

    // 0 and 1 word, a block's edges, the vector groups of 16 and 32 words with tails, and a start whose block index
    // needs the high counter word.
    [Theory]
    [InlineData(0, 0L)]
    [InlineData(1, 0L)]
    [InlineData(3, 1L)]
    [InlineData(4, 3L)]
    [InlineData(31, 0L)]
    [InlineData(64, 0L)]
    [InlineData(203, 5L)]
    [InlineData(300, (1L << 34) - 137)]
    public void Element_i_is_word_i_mod_4_of_block_i_div_4(int count, long start)
    {
        const ulong Seed = 0x0123456789abcdef;
        var bits = new uint[count + 1];
        bits[count] = 0xdeadbeef;
        Philox.FillBits(bits.AsSpan(0, count), Seed, stream: 7, offset: 11, start);
        for (var i = 0; i < count; i++) Assert.Equal(Word(start + i, Seed, 7, 11), bits[i]);
        Assert.Equal(0xdeadbeef, bits[count]);
    }

    [Fact]
    public void Any_partition_gives_the_same_bits()
    {
        const int Count = 1000;
        var whole = new float[Count];
        var normal = new double[Count];
        var wide = new double[Count];
        Philox.FillUniform(whole, 5, 1, 2);
        Philox.FillNormal(normal, 5, 1, 2);
        Philox.FillUniform(wide, 5, 1, 2);
        var parts = new float[Count];
        var normalParts = new double[Count];
        var wideParts = new double[Count];
        int[] cuts = [0, 1, 2, 9, 50, 51, 333, 700, 999, Count];
        for (var c = 1; c < cuts.Length; c++)
        {
            var (from, length) = (cuts[c - 1], cuts[c] - cuts[c - 1]);
            Philox.FillUniform(parts.AsSpan(from, length), 5, 1, 2, from);
            Philox.FillNormal(normalParts.AsSpan(from, length), 5, 1, 2, from);
            Philox.FillUniform(wideParts.AsSpan(from, length), 5, 1, 2, from);
        }

        Assert.Equal(whole, parts);
        Assert.Equal(normal, normalParts);
        Assert.Equal(wide, wideParts);
    }

    [Fact]
    public void Seed_stream_and_offset_each_change_the_numbers()
    {
        var seen = new HashSet<(uint, uint, uint, uint)>();
        foreach (var seed in new[] { 1UL, 2UL, 1UL << 32 })
        {
            for (var stream = 0u; stream < 3; stream++)
            {
                for (var offset = 0u; offset < 3; offset++)
                {
                    var bits = new uint[4];
                    Philox.FillBits(bits, seed, stream, offset);
                    Assert.True(seen.Add((bits[0], bits[1], bits[2], bits[3])));
                }
            }
        }
    }

    [Fact]
    public void Uniform_numbers_lie_in_their_interval()
    {
        Assert.Equal(0f, Philox.ToUniform(0u));
        Assert.Equal(1f - MathF.Pow(2, -24), Philox.ToUniform(uint.MaxValue));
        Assert.Equal(0.0, Philox.ToUniform(0ul));
        Assert.Equal(1.0 - Math.Pow(2, -53), Philox.ToUniform(ulong.MaxValue));
        var values = new float[77];
        Philox.FillUniform(values, 3, 0, 0, start: 1);
        for (var i = 0; i < values.Length; i++) Assert.Equal(Philox.ToUniform(Word(i + 1, 3, 0, 0)), values[i]);
        var wide = new double[5];
        Philox.FillUniform(wide, 3, 0, 0);
        for (var i = 0; i < wide.Length; i++)
        {
            var bits = Word(2 * i, 3, 0, 0) | ((ulong)Word((2 * i) + 1, 3, 0, 0) << 32);
            Assert.Equal(Philox.ToUniform(bits), wide[i]);
        }
    }

    // Against the scalar library functions: a few units in the last place of a double, of numbers up to about 6.
    [Fact]
    public void Normal_numbers_follow_Box_and_Muller()
    {
        var uniform = new double[50];
        var normal = new double[50];
        Philox.FillUniform(uniform, 8, 1, 0);
        Philox.FillNormal(normal, 8, 1, 0);
        for (var j = 0; j < normal.Length; j += 2)
        {
            var radius = Math.Sqrt(-2 * Math.Log(1 - uniform[j]));
            Assert.Equal(radius * Math.Cos(2 * Math.PI * uniform[j + 1]), normal[j], 1e-14);
            Assert.Equal(radius * Math.Sin(2 * Math.PI * uniform[j + 1]), normal[j + 1], 1e-14);
        }
    }

    // The standard error of a mean of n numbers of variance v is sqrt(v / n); each bound is 5 of them, and the numbers
    // are always the same, so the test cannot fail by chance.
    [Fact]
    public void Moments_are_those_of_the_distribution()
    {
        const int Count = 1 << 18;
        var uniform = new float[Count];
        var normal = new float[Count];
        Philox.FillUniform(uniform, 42, 3, 0);
        Philox.FillNormal(normal, 42, 3, 0);
        var error = 5 / Math.Sqrt(Count);
        Assert.Equal(0.5, uniform.Average(), error * Math.Sqrt(1.0 / 12));
        Assert.Equal(1.0 / 3, uniform.Average(x => (double)x * x), error * Math.Sqrt(4.0 / 45));
        Assert.Equal(0, normal.Average(), error);
        Assert.Equal(1, normal.Average(x => (double)x * x), error * Math.Sqrt(2));
        Assert.Equal(0, normal.Average(x => Math.Pow(x, 3)), error * Math.Sqrt(15));
        Assert.Equal(3, normal.Average(x => Math.Pow(x, 4)), error * Math.Sqrt(96));
        var products = Enumerable.Range(0, Count / 2).Average(j => (double)normal[2 * j] * normal[(2 * j) + 1]);
        Assert.Equal(0, products, error * Math.Sqrt(2));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(1000)]
    public void A_permutation_holds_each_index_once(int count)
    {
        var order = new int[count];
        Philox.Permutation(order, 9, 1, 0);
        Assert.Equal(Enumerable.Range(0, count), order.Order());
    }

    [Fact]
    public void A_permutation_follows_seed_and_offset()
    {
        int[] Draw(ulong seed, uint offset)
        {
            var order = new int[100];
            Philox.Permutation(order, seed, 1, offset);
            return order;
        }

        Assert.Equal(Draw(9, 0), Draw(9, 0));
        Assert.NotEqual(Draw(9, 0), Draw(9, 1));
        Assert.NotEqual(Draw(9, 0), Draw(8, 0));
    }

    // 24 orders, 24,000 draws: each count is binomial with mean 1000 and standard deviation 31; the bound is 5 of them.
    [Fact]
    public void All_orders_of_four_are_equally_likely()
    {
        var counts = new Dictionary<int, int>();
        var order = new int[4];
        for (var offset = 0u; offset < 24_000; offset++)
        {
            Philox.Permutation(order, 1, 0, offset);
            var code = (order[0] * 64) + (order[1] * 16) + (order[2] * 4) + order[3];
            counts[code] = counts.GetValueOrDefault(code) + 1;
        }

        Assert.Equal(24, counts.Count);
        Assert.All(counts.Values, n => Assert.InRange(n, 1000 - 155, 1000 + 155));
    }

    [Fact]
    public void Bounded_draws_reach_every_value_and_never_the_bound()
    {
        var random = new PhiloxSequence(4, 0, 0);
        var counts = new int[3];
        for (var i = 0; i < 3000; i++) counts[random.NextBelow(3)]++;
        Assert.All(counts, n => Assert.InRange(n, 1000 - 130, 1000 + 130));   // 5 standard deviations of 25.8
        Assert.Equal(0u, random.NextBelow(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new PhiloxSequence(4, 0, 0).NextBelow(0));

        // A bound of 3 * 2^30 rejects a quarter of all words: every second, third ... draw must still be below it.
        for (var i = 0; i < 1000; i++) Assert.True(random.NextBelow(3u << 30) < 3u << 30);
    }

    [Fact]
    public void A_sequence_reads_the_words_in_order()
    {
        var random = new PhiloxSequence(6, 2, 3, start: 8);
        for (var i = 8; i < 30; i++) Assert.Equal(Word(i, 6, 2, 3), random.NextWord());
        Assert.Throws<ArgumentException>(() => new PhiloxSequence(6, 2, 3, start: 2));
    }

    private static uint Word(long element, ulong seed, uint stream, uint offset)
    {
        var block = element / 4;
        var (x, y, z, w) = Philox.Block(seed, (uint)block, (uint)(block >> 32), stream, offset);
        return (element % 4) switch { 0 => x, 1 => y, 2 => z, _ => w };
    }
}
