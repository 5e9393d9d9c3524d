namespace GpuEngine.Nn.Files;

/// <summary>One entry of a safetensors header.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Dtype">The element type.</param>
/// <param name="Shape">The sizes, row-major; empty for a scalar, and a zero is legal.</param>
/// <param name="Offset">Where its bytes begin, counted from the start of the data section.</param>
/// <param name="ByteLength">How many bytes it has.</param>
public sealed record SafetensorsTensor(
    string Name, SafetensorsDtype Dtype, IReadOnlyList<long> Shape, long Offset, long ByteLength)
{
    /// <summary>The shape as text: <c>[2, 3]</c>, or <c>[]</c> for a scalar.</summary>
    public string ShapeText => ToText(Shape);

    internal static string ToText(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";
}
