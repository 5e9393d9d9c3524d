namespace GpuEngine.Nn.Files;

/// <summary>
/// The element types of a safetensors file that this engine reads and writes, under the format's names.
/// </summary>
public enum SafetensorsDtype
{
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    BOOL,
}

/// <summary>Facts about <see cref="SafetensorsDtype"/>.</summary>
public static class SafetensorsDtypes
{
    /// <summary>Every name, as it stands in a header.</summary>
    public static IReadOnlyList<string> Names { get; } = Enum.GetNames<SafetensorsDtype>();

    /// <summary>Bytes per element: 8, 4, 2 or 1.</summary>
    public static int Size(this SafetensorsDtype dtype) => dtype switch
    {
        SafetensorsDtype.F64 or SafetensorsDtype.I64 or SafetensorsDtype.U64 => 8,
        SafetensorsDtype.F32 or SafetensorsDtype.I32 or SafetensorsDtype.U32 => 4,
        SafetensorsDtype.F16 or SafetensorsDtype.BF16 or SafetensorsDtype.I16 or SafetensorsDtype.U16 => 2,
        SafetensorsDtype.I8 or SafetensorsDtype.U8 or SafetensorsDtype.BOOL => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "not a dtype"),
    };

    /// <summary>The dtype of that exact name; false for any other text (numbers and other cases included).</summary>
    public static bool TryParse(string name, out SafetensorsDtype dtype)
    {
        for (var i = 0; i < Names.Count; i++)
        {
            if (Names[i] != name) continue;
            dtype = Enum.GetValues<SafetensorsDtype>()[i];
            return true;
        }

        dtype = default;
        return false;
    }

    /// <summary>
    /// Bytes of a tensor: the product of its shape times the element size, or null where that overflows.
    /// </summary>
    internal static long? ByteLength(SafetensorsDtype dtype, ReadOnlySpan<long> shape)
    {
        // A zero anywhere makes the tensor empty, even beside sizes whose product alone would overflow.
        if (shape.Contains(0)) return 0;
        Int128 bytes = dtype.Size();
        foreach (var size in shape)
        {
            bytes *= size;
            if (bytes > long.MaxValue) return null;
        }

        return (long)bytes;
    }
}
