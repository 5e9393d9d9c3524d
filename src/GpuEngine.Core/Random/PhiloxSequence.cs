namespace GpuEngine.Core.Random;

/// <summary>
/// Reads the words of one (seed, stream, offset) of <see cref="Philox"/> one after another: for draws whose number is
/// not known beforehand, such as rejection loops. A mutable struct: pass it by reference.
/// </summary>
public struct PhiloxSequence
{
    private readonly ulong _seed;
    private readonly uint _stream;
    private readonly uint _offset;
    private long _next;
    private (uint X, uint Y, uint Z, uint W) _block;

    /// <param name="seed">The 64-bit key.</param>
    /// <param name="stream">Which consumer.</param>
    /// <param name="offset">Which step or epoch.</param>
    /// <param name="start">Index of the first word to read, a multiple of 4.</param>
    public PhiloxSequence(ulong seed, uint stream, uint offset, long start = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        if ((start & 3) != 0)
            throw new ArgumentException("A sequence starts at a whole block of 4 words.", nameof(start));
        _seed = seed;
        _stream = stream;
        _offset = offset;
        _next = start;
    }

    /// <summary>The next 32-bit word.</summary>
    public uint NextWord()
    {
        var word = _next & 3;
        if (word == 0) _block = Philox.ElementBlock(_next >> 2, _seed, _stream, _offset);
        _next++;
        return word switch { 0 => _block.X, 1 => _block.Y, 2 => _block.Z, _ => _block.W };
    }

    /// <summary>A float in [0, 1) from one word.</summary>
    public float NextUniform() => Philox.ToUniform(NextWord());

    /// <summary>A float in [low, high) from one word.</summary>
    public float NextUniform(float low, float high) => low + ((high - low) * NextUniform());

    /// <summary>
    /// An integer in [0, bound), every value equally likely: Lemire, "Fast random integer generation in an interval",
    /// 2019. Takes one word, rarely more.
    /// </summary>
    public uint NextBelow(uint bound)
    {
        ArgumentOutOfRangeException.ThrowIfZero(bound);
        var product = (ulong)NextWord() * bound;
        if ((uint)product < bound)
        {
            var threshold = (0u - bound) % bound;
            while ((uint)product < threshold) product = (ulong)NextWord() * bound;
        }

        return (uint)(product >> 32);
    }
}
