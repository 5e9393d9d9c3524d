using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Lab.Kernels;

/// <summary>
/// Random operands for cases. Matrices: normal. Vectors and scalars, among them weights and statistics: between 0.5 and 1.5. f64 scalars, the
/// learning rate among them: 1e-3. Integers: below a limit. Never zeros, which let chips clock higher.
/// </summary>
public static class RandomOperands
{
    private const int MostElements = 1 << 20;

    private static readonly Dictionary<(DType, int, bool, int), byte[]> Tiles = [];

    /// <summary>A whole tensor.</summary>
    public static byte[] Of(TensorType type, int indexLimit)
    {
        var tile = Tile(type, indexLimit);
        if (tile.Length == type.Bytes) return tile;
        var bytes = new byte[type.Bytes];
        for (var at = 0; at < bytes.Length; at += tile.Length) tile.AsSpan(0, Math.Min(tile.Length, bytes.Length - at)).CopyTo(bytes.AsSpan(at));
        return bytes;
    }

    /// <summary>The first 2^20 elements of such a tensor; one that has more repeats them.</summary>
    public static byte[] Tile(TensorType type, int indexLimit)
    {
        var matrix = type.Shape.Rank > 1;
        var elements = (int)Math.Min(MostElements, type.Elements);
        if (Tiles.TryGetValue((type.DType, indexLimit, matrix, elements), out var tile)) return tile;
        var random = new Random(elements + (int)type.DType);
        double Draw() => type.DType switch
        {
            DType.I32 or DType.I64 => random.Next(indexLimit),
            DType.U8 => random.Next(256),
            DType.Bool => random.Next(2),
            DType.F64 => 1e-3,
            _ => matrix ? Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()) : 0.5 + random.NextDouble(),
        };
        return Tiles[(type.DType, indexLimit, matrix, elements)] = ElementData.FromDoubles(type.DType, [.. Enumerable.Range(0, elements).Select(_ => Draw())]);
    }
}
