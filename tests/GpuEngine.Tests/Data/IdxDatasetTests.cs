using GpuEngine.Core;
using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

public class IdxDatasetTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData(".gz", "mnist")]
    [InlineData(".br", "MNIST/raw")]
    public void Plain_gzip_and_brotli_give_the_same_images_wherever_they_lie(string suffix, string subfolder)
    {
        using var plain = DataFolder.WithIdx();
        using var other = DataFolder.WithIdx(suffix, subfolder);
        var expected = Datasets.Mnist(plain.Path);
        var actual = Datasets.Open("mnist", new DatasetOptions { DataDir = other.Path });
        Assert.Equal(new ExampleShape(1, 5, 4), actual.Shape);
        Assert.Equal((30, 7), (actual.Train.Count, actual.Test.Count));
        for (var i = 0; i < 30; i++) Example.AssertSame(expected.Train, i, actual.Train, i);
        for (var i = 0; i < 7; i++) Example.AssertSame(expected.Test, i, actual.Test, i);
    }

    // 5x4 = 20 pixels: one vector of 16 and a tail. The floats come from one multiplication and one addition in float.
    [Fact]
    public void Pixels_are_standardised_with_the_training_images()
    {
        using var folder = DataFolder.WithIdx();
        var data = Datasets.Mnist(folder.Path);
        var bytes = DataFolder.Images(30, 5, 4).AsSpan(16).ToArray();
        var mean = bytes.Average(b => (double)b);
        var deviation = Math.Sqrt(bytes.Average(b => (b - mean) * (b - mean)));
        var (input, label) = Example.Read(data.Train, 13);
        Assert.Equal(3, label);
        for (var i = 0; i < 20; i++) Assert.Equal((bytes[(13 * 20) + i] - mean) / deviation, input[i], 1e-6);

        var test = DataFolder.Images(7, 5, 4);
        Assert.Equal((test[16] - mean) / deviation, Example.Read(data.Test, 0).Input[0], 1e-6);
        var statistics = Assert.IsType<ByteImages>(data.Train).Statistics;
        Assert.Equal(mean, statistics.Mean[0], 1e-12);
        Assert.Equal(deviation, statistics.Deviation[0], 1e-12);
    }

    // A million of the largest byte would overflow 32-bit lanes that were added up too rarely; channels must not mix,
    // and one without variance must not be divided by 0.
    [Fact]
    public void Statistics_are_exact()
    {
        var shape = new ExampleShape(2, 1000, 1001);
        var area = shape.Length / 2;
        var pixels = new byte[2 * shape.Length];
        for (var n = 0; n < 2; n++)
        {
            pixels.AsSpan(n * shape.Length, area).Fill(255);
            pixels.AsSpan((n * shape.Length) + area, area).Fill(7);
        }

        pixels[5] = 0;
        var statistics = ChannelStatistics.Of(pixels, shape);
        var share = 1 / (2.0 * area);
        Assert.Equal(255 * (1 - share), statistics.Mean[0], 1e-12);
        Assert.Equal(255 * Math.Sqrt(share * (1 - share)), statistics.Deviation[0], 1e-12);
        Assert.Equal((7.0, 1.0), (statistics.Mean[1], statistics.Deviation[1]));
    }

    [Fact]
    public void A_missing_directory_is_named_with_the_remedy()
    {
        var message = Fails("/no/such/folder");
        Assert.Contains("'/no/such/folder'", message);
        Assert.Contains("does not exist", message);
        Assert.Contains("tools/download-data mnist", message);
        Assert.Contains("--data-dir", message);

        using var folder = DataFolder.WithIdx();
        Assert.Contains("is a file", Fails(Path.Combine(folder.Path, DataFolder.IdxNames[0])));
    }

    [Fact]
    public void Missing_files_are_all_named_with_the_places_looked_in()
    {
        using var folder = DataFolder.WithIdx();
        File.Delete(Path.Combine(folder.Path, DataFolder.IdxNames[1]));
        File.Delete(Path.Combine(folder.Path, DataFolder.IdxNames[2]));
        var message = Fails(folder.Path);
        Assert.Contains("train-labels-idx1-ubyte, t10k-images-idx3-ubyte", message);
        Assert.DoesNotContain("train-images", message);
        Assert.Contains($"'{Path.Combine(folder.Path, "mnist")}'", message);
        Assert.Contains("tools/download-data", message);
    }

    // Cut in the header, in the first pixel, and one byte short.
    [Theory]
    [InlineData("", 0, "16 bytes expected, 0 found")]
    [InlineData("", 10, "16 bytes expected, 10 found")]
    [InlineData("", 16, "616 bytes expected, 16 found")]
    [InlineData("", 615, "616 bytes expected, 615 found")]
    [InlineData(".gz", 615, "616 unpacked bytes expected, 615 found")]
    [InlineData(".br", 615, "616 unpacked bytes expected, 615 found")]
    public void A_truncated_file_is_told_by_its_bytes(string suffix, int length, string expected)
    {
        using var folder = DataFolder.WithIdx(suffix);
        folder.Write("", DataFolder.IdxNames[0] + suffix, DataFolder.Images(30, 5, 4)[..length]);
        var message = Fails(folder.Path);
        Assert.Contains(DataFolder.IdxNames[0] + suffix, message);
        Assert.Contains("is truncated", message);
        Assert.Contains(expected, message);
    }

    [Theory]
    [InlineData("")]
    [InlineData(".gz")]
    [InlineData(".br")]
    public void A_file_that_goes_on_is_refused(string suffix)
    {
        using var folder = DataFolder.WithIdx(suffix);
        folder.Write("", DataFolder.IdxNames[3] + suffix, [.. DataFolder.Labels(7), 0]);
        var message = Fails(folder.Path);
        Assert.Contains("is too long: 15", message);
    }

    [Theory]
    [InlineData(".gz")]
    [InlineData(".br")]
    public void A_cut_archive_is_refused(string suffix)
    {
        using var folder = DataFolder.WithIdx(suffix);
        var packed = DataFolder.Pack(DataFolder.Images(30, 5, 4), suffix);
        folder.WriteRaw("", DataFolder.IdxNames[0] + suffix, packed[..(packed.Length / 2)]);
        var message = Fails(folder.Path);
        Assert.Contains(DataFolder.IdxNames[0] + suffix, message);
        Assert.Contains("truncated", message);
    }

    [Theory]
    [InlineData(".gz", "gzip")]
    [InlineData(".br", "Brotli")]
    public void Bytes_that_were_never_packed_are_refused(string suffix, string packing)
    {
        using var folder = DataFolder.WithIdx(suffix);
        folder.WriteRaw("", DataFolder.IdxNames[0] + suffix, [.. Enumerable.Repeat((byte)0xA7, 200)]);
        var message = Fails(folder.Path);
        Assert.Contains(DataFolder.IdxNames[0] + suffix, message);
        Assert.Contains($"corrupt or truncated: its {packing} data", message);
    }

    [Fact]
    public void A_flipped_bit_in_gzip_is_found_by_its_checksum()
    {
        using var folder = DataFolder.WithIdx(".gz");
        var packed = DataFolder.Pack(DataFolder.Images(30, 5, 4), ".gz");
        packed[^6] ^= 1;   // in the CRC-32
        folder.WriteRaw("", DataFolder.IdxNames[0] + ".gz", packed);
        Assert.Contains("gzip data", Fails(folder.Path));
    }

    [Fact]
    public void A_wrong_magic_number_is_shown()
    {
        using var folder = DataFolder.WithIdx();
        folder.Write("", DataFolder.IdxNames[0], DataFolder.Labels(600));
        var message = Fails(folder.Path);
        Assert.Contains("0x00000801 instead of 0x00000803", message);
        Assert.Contains(DataFolder.IdxNames[0], message);
    }

    [Theory]
    [InlineData(4, 0)]
    [InlineData(8, 0xFF)]
    [InlineData(12, 0x7F)]
    public void An_impossible_size_is_refused_before_memory_is_asked_for(int at, byte value)
    {
        using var folder = DataFolder.WithIdx();
        var bytes = DataFolder.Images(30, 5, 4);
        for (var i = 0; i < 4; i++) bytes[at + i] = value;
        folder.Write("", DataFolder.IdxNames[0], bytes);
        Assert.Contains("impossible size", Fails(folder.Path));
    }

    [Fact]
    public void Counts_of_images_and_labels_must_agree()
    {
        using var folder = DataFolder.WithIdx();
        folder.Write("", DataFolder.IdxNames[3], DataFolder.Labels(8));
        var message = Fails(folder.Path);
        Assert.Contains("7 images", message);
        Assert.Contains("8 labels", message);
    }

    [Fact]
    public void Sizes_of_training_and_test_images_must_agree()
    {
        using var folder = DataFolder.WithIdx();
        folder.Write("", DataFolder.IdxNames[2], DataFolder.Images(7, 6, 4));
        var message = Fails(folder.Path);
        Assert.Contains("1x5x4", message);
        Assert.Contains("1x6x4", message);
    }

    [Fact]
    public void A_label_out_of_range_is_located()
    {
        using var folder = DataFolder.WithIdx();
        var labels = DataFolder.Labels(30);
        labels[8 + 21] = 10;
        folder.Write("", DataFolder.IdxNames[1], labels);
        var message = Fails(folder.Path);
        Assert.Contains("Label 10 of image 21", message);
        Assert.Contains("0 to 9", message);
    }

    [Fact]
    public void A_file_without_read_permission_is_named()
    {
        Assert.SkipWhen(Environment.UserName == "root", "root may read every file");
        using var folder = DataFolder.WithIdx();
        var path = Path.Combine(folder.Path, DataFolder.IdxNames[0]);
        if (OperatingSystem.IsWindows())
            Assert.Skip("file modes are a Unix matter");
        else
            File.SetUnixFileMode(path, UnixFileMode.None);
        var message = Fails(folder.Path);
        Assert.Contains(path, message);
        Assert.Contains("read permission", message);
    }

    [Fact]
    public void Opening_what_is_no_file_is_one_sentence()
    {
        // Opening a directory fails the same way as opening a file without permission, for root too.
        using var folder = new DataFolder();
        Assert.Contains("read permission", Assert.Throws<UserException>(() => DataFile.Open(folder.Path)).Message);
        var missing = Path.Combine(folder.Path, "gone");
        Assert.Contains("cannot be opened", Assert.Throws<UserException>(() => DataFile.Open(missing)).Message);
    }

    private static string Fails(string path)
    {
        var message = Assert.Throws<UserException>(() => Datasets.Mnist(path)).Message;
        Assert.EndsWith(".", message);
        Assert.DoesNotContain("\n", message);
        return message;
    }
}
