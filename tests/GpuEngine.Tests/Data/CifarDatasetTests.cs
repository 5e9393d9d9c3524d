using GpuEngine.Core;
using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

/// <summary>
/// Files of the real size, nearly all zeros: 30 MB that packs into a few bytes, so that a test may have all six.
/// </summary>
public class CifarDatasetTests
{
    private const int Record = 3073;
    private static readonly byte[] ZerosBrotli = DataFolder.Pack(new byte[10_000 * Record], ".br");

    [Fact]
    public void Cifar10_reads_labels_and_planes_of_every_file_in_order()
    {
        using var folder = WithCifar10();
        var bytes = new byte[10_000 * Record];
        bytes[0] = 4;                                  // record 0: label, first red pixel, last blue pixel
        bytes[1] = 200;
        bytes[3072] = 100;
        bytes[^Record] = 9;                            // record 9999
        bytes[^(Record - 1 - 1024)] = 50;              // its first green pixel
        folder.Write("", "data_batch_2.bin.gz", bytes);
        File.Delete(Path.Combine(folder.Path, "data_batch_2.bin.br"));
        var data = Datasets.Cifar10(folder.Path);
        var train = Assert.IsType<ByteImages>(data.Train);
        Assert.Equal((50_000, 10_000, 10), (data.Train.Count, data.Test.Count, data.Classes.Count));
        Assert.Equal(new ExampleShape(3, 32, 32), data.Shape);
        Assert.Equal(4, Example.Read(train, 10_000).Label);
        Assert.Equal(200, train.Pixels(10_000)[0]);
        Assert.Equal(100, train.Pixels(10_000)[3071]);
        Assert.Equal(9, Example.Read(train, 19_999).Label);
        Assert.Equal(50, train.Pixels(19_999)[1024]);
        Assert.Equal(0, Example.Read(train, 20_000).Label);

        const double Count = 50_000.0 * 1024;
        Assert.Equal([200 / Count, 50 / Count, 100 / Count], train.Statistics.Mean);
        Assert.Equal(Math.Sqrt(200 * 200 / Count), train.Statistics.Deviation[0], 1e-5);
    }

    [Fact]
    public void Cifar100_keeps_the_fine_label_and_checks_both()
    {
        using var folder = new DataFolder();
        var test = new byte[10_000 * (Record + 1)];
        test[0] = 19;
        test[1] = 99;
        test[2] = 7;
        folder.Write("cifar100", "test.bin.br", test);
        folder.Write("cifar100", "train.bin.br", new byte[50_000 * (Record + 1)]);
        var data = Datasets.Open("cifar100", new DatasetOptions { DataDir = folder.Path });
        Assert.Equal(99, Example.Read(data.Test, 0).Label);
        Assert.Equal(7, ((ByteImages)data.Test).Pixels(0)[0]);
        Assert.Equal("worm", data.Classes[99]);
        Assert.Equal(data.Classes.Order(StringComparer.Ordinal), data.Classes);

        test[Record + 1] = 20;
        folder.Write("cifar100", "test.bin.br", test);
        Assert.Contains("Coarse label 20 of image 1", Fails(() => Datasets.Cifar100(folder.Path)));
        test[Record + 1] = 0;
        test[Record + 2] = 100;
        folder.Write("cifar100", "test.bin.br", test);
        Assert.Contains("Label 100 of image 1", Fails(() => Datasets.Cifar100(folder.Path)));
    }

    [Fact]
    public void Bad_files_are_told()
    {
        using var folder = WithCifar10();
        using (var plain = File.Create(Path.Combine(folder.Path, "data_batch_3.bin"))) plain.SetLength(9999 * Record);
        var message = Fails(() => Datasets.Cifar10(folder.Path));
        Assert.Contains("data_batch_3.bin' is truncated: 30730000 bytes expected, 30726927 found", message);

        File.Delete(Path.Combine(folder.Path, "data_batch_3.bin"));
        var bytes = new byte[10_000 * Record];
        bytes[77 * Record] = 10;
        folder.Write("", "test_batch.bin.br", bytes);
        Assert.Contains("Label 10 of image 77", Fails(() => Datasets.Cifar10(folder.Path)));

        File.Delete(Path.Combine(folder.Path, "test_batch.bin.br"));
        message = Fails(() => Datasets.Cifar10(folder.Path));
        Assert.Contains("lacks test_batch.bin (plain, .gz or .br)", message);
        Assert.Contains("cifar-10-batches-bin", message);
    }

    private static DataFolder WithCifar10()
    {
        var folder = new DataFolder();
        for (var i = 1; i <= 5; i++) folder.WriteRaw("", $"data_batch_{i}.bin.br", ZerosBrotli);
        folder.WriteRaw("", "test_batch.bin.br", ZerosBrotli);
        return folder;
    }

    private static string Fails(Action read) => Assert.Throws<UserException>(read).Message;
}
