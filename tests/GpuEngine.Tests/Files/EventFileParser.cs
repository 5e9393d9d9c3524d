using System.Buffers.Binary;
using System.Text;

namespace GpuEngine.Tests.Files;

/// <summary>
/// Reads event files back, written from the format's description and sharing no code with the writer: its CRC is the
/// bitwise one, its protobuf decoder knows only wire types.
/// </summary>
internal static class EventFileParser
{
    /// <summary>The data of every record; throws where a frame or a checksum is wrong.</summary>
    public static List<byte[]> Records(byte[] file)
    {
        var records = new List<byte[]>();
        for (var at = 0; at < file.Length;)
        {
            var length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Check(file, at, 8);
            Check(file, at + 12, length);
            records.Add(file[(at + 12)..(at + 12 + length)]);
            at += 16 + length;
        }

        return records;
    }

    /// <summary>
    /// The fields of a message in order: varints as long, fixed ones as double or float, the rest as bytes.
    /// </summary>
    public static ILookup<int, object> Fields(byte[] message)
    {
        var fields = new List<(int Field, object Value)>();
        for (var at = 0; at < message.Length;)
        {
            var tag = Varint(message, ref at);
            object value;
            switch (tag & 7)
            {
                case 0:
                    value = Varint(message, ref at);
                    break;
                case 1:
                    value = BitConverter.ToDouble(message, at);
                    at += 8;
                    break;
                case 2:
                    var length = (int)Varint(message, ref at);
                    value = message[at..(at + length)];
                    at += length;
                    break;
                case 5:
                    value = BitConverter.ToSingle(message, at);
                    at += 4;
                    break;
                default:
                    throw new InvalidDataException($"wire type {tag & 7}");
            }

            fields.Add(((int)(tag >> 3), value));
        }

        return fields.ToLookup(f => f.Field, f => f.Value);
    }

    public static string Text(this ILookup<int, object> fields, int field) =>
        Encoding.UTF8.GetString((byte[])fields[field].Single());

    public static ILookup<int, object> Message(this ILookup<int, object> fields, int field) =>
        Fields((byte[])fields[field].Single());

    public static double[] Doubles(this ILookup<int, object> fields, int field)
    {
        var bytes = (byte[])fields[field].Single();
        return [.. Enumerable.Range(0, bytes.Length / 8).Select(i => BitConverter.ToDouble(bytes, i * 8))];
    }

    /// <summary>CRC-32C bit by bit: the reversed polynomial 0x82F63B78.</summary>
    public static uint Crc32C(ReadOnlySpan<byte> data)
    {
        var crc = ~0u;
        foreach (var b in data)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78u);
        }

        return ~crc;
    }

    private static long Varint(byte[] message, ref int at)
    {
        var value = 0UL;
        for (var shift = 0; ; shift += 7)
        {
            var b = message[at++];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80) return (long)value;
        }
    }

    private static void Check(byte[] file, int at, int length)
    {
        var crc = Crc32C(file.AsSpan(at, length));
        var masked = ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
        if (masked != BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + length)))
            throw new InvalidDataException($"wrong CRC of the {length} bytes at {at}");
    }
}
