using System.Buffers.Binary;
using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>
/// The IDX format of MNIST (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): a big-endian
/// magic number 0x0000TTDD with element type TT (8 = unsigned byte) and DD dimensions, the dimensions as 32-bit
/// numbers, the bytes.
/// </summary>
internal static class IdxFile
{
    private const int ImageMagic = 0x0803;
    private const int LabelMagic = 0x0801;

    /// <summary>Images of one channel, as count x height x width bytes.</summary>
    /// <exception cref="UserException">The file is not what it should be.</exception>
    public static (byte[] Pixels, int Count, ExampleShape Shape) ReadImages(DataFile file)
    {
        var size = Header(file, ImageMagic, dimensions: 3, "images");
        var pixels = Body(file, (long)size[0] * size[1] * size[2], header: 16);
        return (pixels, size[0], new ExampleShape(1, size[1], size[2]));
    }

    /// <summary>Labels, one byte each.</summary>
    /// <exception cref="UserException">The file is not what it should be, or a label is not below the class
    /// count.</exception>
    public static byte[] ReadLabels(DataFile file, int classCount)
    {
        var labels = Body(file, Header(file, LabelMagic, dimensions: 1, "labels")[0], header: 8);
        CheckLabels(labels, classCount, file.Path);
        return labels;
    }

    /// <exception cref="UserException">A label is not below the class count.</exception>
    public static void CheckLabels(ReadOnlySpan<byte> labels, int classCount, string path)
    {
        var bad = labels.IndexOfAnyExceptInRange((byte)0, (byte)(classCount - 1));
        if (bad < 0) return;
        throw new UserException(
            $"Label {labels[bad]} of image {bad} in '{path}' is out of range; {classCount} classes have labels 0 to "
            + $"{classCount - 1}.");
    }

    private static int[] Header(DataFile file, int magic, int dimensions, string what)
    {
        var length = 4 + (4 * dimensions);
        Span<byte> header = stackalloc byte[16];
        header = header[..length];
        file.Read(header[..4], length);
        var found = BinaryPrimitives.ReadInt32BigEndian(header);
        if (found != magic)
        {
            throw new UserException(
                $"Data file '{file.Path}' is not an IDX file of {what}: it starts with 0x{found:x8} instead of "
                + $"0x{magic:x8}; fetch the file again.");
        }

        file.Read(header[4..], length);
        var size = new int[dimensions];
        long total = 1;
        for (var i = 0; i < dimensions; i++)
        {
            size[i] = BinaryPrimitives.ReadInt32BigEndian(header[(4 + (4 * i))..]);
            total = size[i] <= 0 || total > Array.MaxLength / size[i] ? 0 : total * size[i];
        }

        return total > 0
            ? size
            : throw new UserException(
                $"Data file '{file.Path}' has the impossible size {string.Join("x", size)} in its header; fetch the "
                + "file again.");
    }

    private static byte[] Body(DataFile file, long length, int header)
    {
        var bytes = GC.AllocateUninitializedArray<byte>((int)length);
        file.Read(bytes, header + length);
        file.ReadEnd();
        return bytes;
    }
}
