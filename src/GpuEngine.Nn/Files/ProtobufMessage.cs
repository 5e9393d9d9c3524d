using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace GpuEngine.Nn.Files;

/// <summary>
/// Encodes the few kinds of protobuf fields that event files need
/// (wire format: https://protobuf.dev/programming-guides/encoding).
/// </summary>
internal sealed class ProtobufMessage
{
    private const int WireVarint = 0;
    private const int WireFixed64 = 1;
    private const int WireBytes = 2;
    private const int WireFixed32 = 5;

    private readonly ArrayBufferWriter<byte> _bytes = new();

    public ReadOnlySpan<byte> Bytes => _bytes.WrittenSpan;

    public ProtobufMessage Varint(int field, long value)
    {
        Tag(field, WireVarint);
        // Negative numbers take ten bytes, as int64 and enums do.
        RawVarint((ulong)value);
        return this;
    }

    public ProtobufMessage Double(int field, double value)
    {
        Tag(field, WireFixed64);
        RawDouble(value);
        return this;
    }

    public ProtobufMessage Float(int field, float value)
    {
        Tag(field, WireFixed32);
        BinaryPrimitives.WriteSingleLittleEndian(_bytes.GetSpan(4), value);
        _bytes.Advance(4);
        return this;
    }

    public ProtobufMessage PackedDoubles(int field, IReadOnlyCollection<double> values)
    {
        Tag(field, WireBytes);
        RawVarint((ulong)values.Count * 8);
        foreach (var value in values) RawDouble(value);
        return this;
    }

    public ProtobufMessage Text(int field, string value)
    {
        Tag(field, WireBytes);
        RawVarint((ulong)Encoding.UTF8.GetByteCount(value));
        Encoding.UTF8.GetBytes(value, _bytes);
        return this;
    }

    public ProtobufMessage Message(int field, ProtobufMessage value)
    {
        Tag(field, WireBytes);
        RawVarint((ulong)value.Bytes.Length);
        _bytes.Write(value.Bytes);
        return this;
    }

    private void Tag(int field, int wireType) => RawVarint((ulong)((field << 3) | wireType));

    private void RawDouble(double value)
    {
        BinaryPrimitives.WriteDoubleLittleEndian(_bytes.GetSpan(8), value);
        _bytes.Advance(8);
    }

    private void RawVarint(ulong value)
    {
        var span = _bytes.GetSpan(10);
        var n = 0;
        for (; value >= 0x80; value >>= 7) span[n++] = (byte)(value | 0x80);
        span[n++] = (byte)value;
        _bytes.Advance(n);
    }
}
