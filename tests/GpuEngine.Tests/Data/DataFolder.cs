using System.Buffers.Binary;
using System.IO.Compression;

namespace GpuEngine.Tests.Data;

/// <summary>A temporary folder of small data files, deleted at the end of a test.</summary>
internal sealed class DataFolder : IDisposable
{
    public static readonly string[] IdxNames =
    [
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
    ];

    public string Path { get; } = Directory.CreateTempSubdirectory("gpuengine-data-").FullName;

    /// <summary>A good data set of 30 training and 7 test images of 5x4 pixels.</summary>
    public static DataFolder WithIdx(string suffix = "", string subfolder = "")
    {
        var folder = new DataFolder();
        folder.Write(subfolder, IdxNames[0] + suffix, Images(30, 5, 4));
        folder.Write(subfolder, IdxNames[1] + suffix, Labels(30));
        folder.Write(subfolder, IdxNames[2] + suffix, Images(7, 5, 4));
        folder.Write(subfolder, IdxNames[3] + suffix, Labels(7));
        return folder;
    }

    public static byte[] Images(int count, int height, int width)
    {
        var bytes = new byte[16 + (count * height * width)];
        Header(bytes, 0x0803, count, height, width);
        for (var i = 16; i < bytes.Length; i++) bytes[i] = (byte)(i * 37);
        return bytes;
    }

    public static byte[] Labels(int count)
    {
        var bytes = new byte[8 + count];
        Header(bytes, 0x0801, count);
        for (var i = 0; i < count; i++) bytes[8 + i] = (byte)(i % 10);
        return bytes;
    }

    public static byte[] Pack(byte[] bytes, string suffix)
    {
        if (suffix.Length == 0) return bytes;
        using var packed = new MemoryStream();
        using (Stream stream = suffix == ".gz"
            ? new GZipStream(packed, CompressionLevel.Fastest)
            : new BrotliStream(packed, CompressionLevel.Fastest))
        {
            stream.Write(bytes);
        }

        return packed.ToArray();
    }

    /// <summary>Writes bytes, packed as the name's suffix says.</summary>
    public void Write(string subfolder, string name, byte[] bytes)
    {
        var suffix = System.IO.Path.GetExtension(name);
        WriteRaw(subfolder, name, Pack(bytes, suffix is ".gz" or ".br" ? suffix : ""));
    }

    public void WriteRaw(string subfolder, string name, byte[] bytes)
    {
        Directory.CreateDirectory(System.IO.Path.Combine(Path, subfolder));
        File.WriteAllBytes(System.IO.Path.Combine(Path, subfolder, name), bytes);
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);

    private static void Header(byte[] bytes, params int[] words)
    {
        for (var i = 0; i < words.Length; i++) BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(4 * i), words[i]);
    }
}
