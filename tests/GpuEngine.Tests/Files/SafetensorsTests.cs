using System.Buffers.Binary;
using System.Text;
using GpuEngine.Core;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.Files;

public class SafetensorsTests
{
    public static readonly TheoryData<SafetensorsDtype> Dtypes = [.. Enum.GetValues<SafetensorsDtype>()];

    // Scalar, one element, an odd count, an empty tensor, several dimensions.
    private static readonly long[][] Shapes = [[], [1], [7], [0], [3, 0, long.MaxValue], [2, 3, 5]];

    [Theory]
    [MemberData(nameof(Dtypes))]
    public void Every_dtype_and_shape_comes_back(SafetensorsDtype dtype)
    {
        using var folder = new TemporaryFolder();
        var random = new Random(1);
        var writer = new SafetensorsWriter();
        var written = new List<byte[]>();
        foreach (var shape in Shapes)
        {
            var elements = shape.Contains(0) ? 0 : shape.Aggregate(1L, (a, b) => a * b);
            var bytes = new byte[elements * dtype.Size()];
            random.NextBytes(bytes);
            written.Add(bytes);
            writer.Add<byte>($"t{written.Count - 1}", dtype, shape, bytes);
        }

        writer.Save(folder["a.safetensors"]);
        using var file = SafetensorsFile.Open(folder["a.safetensors"]);
        for (var i = 0; i < Shapes.Length; i++)
        {
            var tensor = file.Tensors[$"t{i}"];
            Assert.Equal(dtype, tensor.Dtype);
            Assert.Equal(Shapes[i], tensor.Shape);
            var read = new byte[tensor.ByteLength];
            file.ReadInto(tensor.Name, read);
            Assert.Equal(written[i], read);
        }

        Assert.True(file.VerifyChecksum());
    }

    [Fact]
    public void Order_metadata_and_alignment_are_kept()
    {
        using var folder = new TemporaryFolder();
        new SafetensorsWriter()
            .AddMetadata("step", "12").AddMetadata("note", "quotes \" and \\ and \u00e9\ud83d\ude00")
            .Add<byte>("mask", SafetensorsDtype.BOOL, [3], new byte[] { 1, 0, 1 })
            .Add<float>("layer.0.w\u00e9ight", SafetensorsDtype.F32, [2, 1], new[] { 1.5f, -2f })
            .Add<ushort>("half", SafetensorsDtype.BF16, [1], new ushort[] { 0x3F80 })
            .Add<double>("", SafetensorsDtype.F64, [], new[] { Math.PI })
            .Save(folder["a.safetensors"]);
        using var file = SafetensorsFile.Open(folder["a.safetensors"]);
        Assert.Equal(["mask", "layer.0.w\u00e9ight", "half", ""], file.Tensors.Keys);
        Assert.Equal(["step", "note", SafetensorsFile.ChecksumKey], file.Metadata.Keys);
        Assert.Equal("quotes \" and \\ and \u00e9\ud83d\ude00", file.Metadata["note"]);
        Assert.Equal([1.5f, -2f], file.Read<float>("layer.0.w\u00e9ight"));
        Assert.Equal([Math.PI], file.Read<double>(""));
        Assert.Equal([0x3F80], file.Read<ushort>("half"));
        Assert.Equal(0, Header(folder["a.safetensors"]).Length % 8);
        Assert.All(file.Tensors.Values, t => Assert.Equal(0, t.Offset % t.Dtype.Size()));
    }

    [Fact]
    public void The_bytes_are_those_of_the_format_and_always_the_same()
    {
        using var folder = new TemporaryFolder();
        foreach (var name in new[] { "a", "b" })
        {
            new SafetensorsWriter()
                .AddMetadata("k", "v")
                .Add<byte>("x", SafetensorsDtype.U8, [2], new byte[] { 7, 8 })
                .Add<int>("y", SafetensorsDtype.I32, [1, 1], new[] { -1 })
                .Save(folder[name]);
        }

        var bytes = File.ReadAllBytes(folder["a"]);
        Assert.Equal(bytes, File.ReadAllBytes(folder["b"]));
        var header = Header(folder["a"]);
        var digits = header.Substring(header.IndexOf("sha256\":\"", StringComparison.Ordinal) + 9, 64);
        Assert.Equal(
            "{\"__metadata__\":{\"k\":\"v\",\"gpuengine.sha256\":\"" + digits + "\"}," +
            "\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}," +
            "\"y\":{\"dtype\":\"I32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}",
            header.TrimEnd(' '));
        Assert.Equal([0xFF, 0xFF, 0xFF, 0xFF, 7, 8], bytes[^6..]);

        // The checksum by its definition: SHA-256 of the file with the digits replaced by zeros.
        var zeroed = Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(bytes).Replace(digits, new string('0', 64)));
        Assert.Equal(digits, Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(zeroed)));
    }

    [Fact]
    public void A_file_of_the_Python_package_loads()
    {
        // As safetensors.numpy.save writes it: metadata of its own, no checksum, spaces up to a multiple of 8.
        const string json =
            """{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},""" +
            """ "a":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}""";
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["p"], Bytes(json + "      ", [0, 0, 128, 63, 0, 0, 0, 64, 0, 60]));
        using var file = SafetensorsFile.Open(folder["p"]);
        Assert.Equal([1f, 2f], file.Read<float>("b"));
        Assert.Equal([(Half)1], file.Read<Half>("a"));
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.False(file.HasChecksum);
        Assert.False(file.VerifyChecksum());
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("{}      ")]
    [InlineData("{\"__metadata__\":null}")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0],\"later\":{\"x\":[1]}}}")]
    public void Legal_oddities_load(string json)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["a"], Bytes(json, []));
        using var file = SafetensorsFile.Open(folder["a"]);
        Assert.Empty(file.Metadata);
    }

    [Fact]
    public void Saving_and_checking_make_no_second_copy_in_memory()
    {
        using var folder = new TemporaryFolder();
        var data = new float[4 << 20];
        data.AsSpan().Fill(1.5f);
        var before = GC.GetAllocatedBytesForCurrentThread();
        new SafetensorsWriter().Add<float>("w", SafetensorsDtype.F32, [data.Length], data).Save(folder["a"]);
        using (var file = SafetensorsFile.Open(folder["a"])) Assert.True(file.VerifyChecksum());
        // 16 MiB of data; the buffers of the file and of the checksum together are under 1 MiB.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void Parts_of_a_tensor_can_be_read()
    {
        using var folder = new TemporaryFolder();
        new SafetensorsWriter()
            .Add<byte>("x", SafetensorsDtype.U8, [5], new byte[] { 9, 9, 9, 9, 9 })
            .Add<byte>("y", SafetensorsDtype.U8, [5], new byte[] { 0, 1, 2, 3, 4 })
            .Save(folder["a"]);
        using var file = SafetensorsFile.Open(folder["a"]);
        var part = new byte[2];
        file.ReadInto("y", 3, part);
        Assert.Equal([3, 4], part);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadInto("x", 4, part));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadInto("x", -1, part));
    }

    [Fact]
    public void What_does_not_fit_the_reader_is_one_sentence()
    {
        using var folder = new TemporaryFolder();
        new SafetensorsWriter().Add<float>("weight", SafetensorsDtype.F32, [2], new float[2]).Save(folder["a"]);
        using var file = SafetensorsFile.Open(folder["a"]);
        Refused("no tensor 'wieght' among its 1, the nearest is 'weight'", () => file.Tensor("wieght"));
        Refused("has 8 bytes (shape [2], F32), expected 4", () => file.ReadInto("weight", new byte[4]));
        Refused("is F32 with 4 bytes per element, expected 8", () => file.Read<double>("weight"));
    }

    [Fact]
    public void The_writer_refuses_what_no_reader_would_take()
    {
        using var folder = new TemporaryFolder();
        var writer = new SafetensorsWriter().Add<float>("a", SafetensorsDtype.F32, [2], new float[2]);
        Assert.Throws<ArgumentException>(() => writer.Add<float>("a", SafetensorsDtype.F32, [2], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add<byte>("__metadata__", SafetensorsDtype.U8, [1], new byte[1]));
        Assert.Throws<ArgumentException>(() => writer.Add<float>("b", SafetensorsDtype.F32, [3], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add<float>("b", SafetensorsDtype.F64, [1], new float[2]));
        Assert.Throws<ArgumentException>(() => writer.Add("b", SafetensorsDtype.F64, [long.MaxValue], _ => { }));
        Assert.ThrowsAny<ArgumentException>(() => writer.Add("b", SafetensorsDtype.F64, [-1], _ => { }));
        Assert.ThrowsAny<ArgumentException>(() => writer.Add("\ud800", SafetensorsDtype.F64, [0], _ => { }));
        Assert.Throws<ArgumentException>(() => writer.AddMetadata(SafetensorsFile.ChecksumKey, "x"));
        writer.AddMetadata("k", "v");
        Assert.Throws<ArgumentException>(() => writer.AddMetadata("k", "v"));
        writer.Save(folder["a"]);
        using var file = SafetensorsFile.Open(folder["a"]);
        Assert.Equal(["a"], file.Tensors.Keys);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(5)]
    public void A_callback_that_writes_another_length_leaves_the_old_file(int bytes)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["a"], "old");
        var writer = new SafetensorsWriter()
            .Add("a", SafetensorsDtype.U8, [4], stream => stream.Write(new byte[bytes], 0, bytes));
        Assert.Throws<InvalidOperationException>(() => writer.Save(folder["a"]));
        Assert.Equal("old", File.ReadAllText(folder["a"]));
        Assert.Equal(["a"], folder.Names());
    }

    [Fact]
    public void A_full_disk_keeps_the_old_checkpoint()
    {
        using var disk = new SmallDisk("size=64k");
        new SafetensorsWriter().Add<byte>("a", SafetensorsDtype.U8, [1], new byte[1]).Save(disk["a"]);
        var writer = new SafetensorsWriter().Add<byte>("a", SafetensorsDtype.U8, [100_000], new byte[100_000]);
        // Header: 8 bytes of length, and the JSON filled up to 168.
        Refused("the disk is full, 100,176 bytes are needed", () => writer.Save(disk["a"]));
        using var file = SafetensorsFile.Open(disk["a"]);
        Assert.True(file.VerifyChecksum());
    }

    /// <summary>A file from its header and data.</summary>
    internal static byte[] Bytes(string json, byte[] data)
    {
        var header = Encoding.UTF8.GetBytes(json);
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        return [.. length, .. header, .. data];
    }

    private static string Header(string path)
    {
        var bytes = File.ReadAllBytes(path);
        return Encoding.UTF8.GetString(bytes, 8, (int)BinaryPrimitives.ReadInt64LittleEndian(bytes));
    }

    private static void Refused(string expected, Action action) =>
        Assert.Contains(expected, Assert.Throws<UserException>(action).Message);
}
