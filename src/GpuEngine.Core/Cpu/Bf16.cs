using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu;

/// <summary>bfloat16: the upper half of an IEEE float. Storage only; conversion rounds to nearest even, NaN stays NaN.</summary>
public readonly struct Bf16(ushort bits) : IEquatable<Bf16>
{
    public ushort Bits { get; } = bits;

    public static bool operator ==(Bf16 left, Bf16 right) => left.Equals(right);

    public static bool operator !=(Bf16 left, Bf16 right) => !left.Equals(right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Bf16 FromSingle(float x)
    {
        var bits = BitConverter.SingleToUInt32Bits(x);
        // Adding 0x7fff plus the lowest kept bit carries exactly when the dropped half is above the middle, or at it and odd.
        var rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        return new Bf16(float.IsNaN(x) ? (ushort)((bits >> 16) | 0x40) : (ushort)rounded);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public float ToSingle() => BitConverter.UInt32BitsToSingle((uint)Bits << 16);

    public bool Equals(Bf16 other) => Bits == other.Bits;

    public override bool Equals(object? obj) => obj is Bf16 other && Equals(other);

    public override int GetHashCode() => Bits;

    public override string ToString() => ToSingle().ToString();
}
