using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>Data sets read from files.</summary>
public static partial class Datasets
{
    /// <summary>The ten digits, 28x28 grey, 60,000 + 10,000 images.</summary>
    /// <param name="dataDir">Folder of the files, or of a folder <c>mnist</c> that holds them.</param>
    /// <param name="options">Limit and validation split; its DataDir is not used.</param>
    /// <exception cref="UserException">A file is missing, unreadable or not what it should be.</exception>
    public static Dataset Mnist(string dataDir, DatasetOptions? options = null) =>
        Idx("mnist", ["mnist", "MNIST/raw"], DigitNames, dataDir, options ?? new DatasetOptions());

    /// <summary>Ten kinds of clothing, 28x28 grey, 60,000 + 10,000 images (Xiao, Rasul, Vollgraf 2017).</summary>
    /// <inheritdoc cref="Mnist"/>
    public static Dataset FashionMnist(string dataDir, DatasetOptions? options = null) =>
        Idx("fashion-mnist", ["fashion-mnist", "FashionMNIST/raw"], FashionNames, dataDir,
            options ?? new DatasetOptions());

    /// <summary>Ten classes, 32x32 colour, 50,000 + 10,000 images.</summary>
    /// <inheritdoc cref="Mnist"/>
    public static Dataset Cifar10(string dataDir, DatasetOptions? options = null) => Cifar(
        "cifar10", ["cifar10", "cifar-10-batches-bin"],
        ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
        "test_batch.bin", labelBytes: 1, Cifar10Names, dataDir, options ?? new DatasetOptions());

    /// <summary>The hundred fine classes, 32x32 colour, 50,000 + 10,000 images.</summary>
    /// <inheritdoc cref="Mnist"/>
    public static Dataset Cifar100(string dataDir, DatasetOptions? options = null) => Cifar(
        "cifar100", ["cifar100", "cifar-100-binary"], ["train.bin"],
        "test.bin", labelBytes: 2, Cifar100Names, dataDir, options ?? new DatasetOptions());

    private static Dataset Idx(
        string name, string[] folders, string[] classes, string dataDir, DatasetOptions options)
    {
        var paths = DataFile.Locate(
            name, dataDir, folders,
            ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]);
        var parts = DataFile.ReadAll(paths, (file, i) => i % 2 == 0
            ? IdxFile.ReadImages(file)
            : (IdxFile.ReadLabels(file, classes.Length), 0, default));
        for (var i = 0; i < parts.Length; i += 2)
        {
            if (parts[i].Count == parts[i + 1].Pixels.Length) continue;
            throw new UserException(
                $"'{paths[i]}' holds {parts[i].Count} images but '{paths[i + 1]}' holds {parts[i + 1].Pixels.Length} "
                + "labels; fetch both files again.");
        }

        if (parts[0].Shape != parts[2].Shape)
        {
            throw new UserException(
                $"The images of '{paths[0]}' are {parts[0].Shape} but those of '{paths[2]}' are {parts[2].Shape}; use "
                + "files of one data set.");
        }

        return Images(
            name, classes, parts[0].Shape, parts[0].Pixels, parts[1].Pixels, parts[2].Pixels, parts[3].Pixels, options);
    }

    private static Dataset Cifar(
        string name, string[] folders, string[] trainFiles, string testFile, int labelBytes,
        string[] classes, string dataDir, DatasetOptions options)
    {
        const int Train = 50_000;
        const int Test = 10_000;
        var length = CifarFile.Shape.Length;
        var paths = DataFile.Locate(name, dataDir, folders, [.. trainFiles, testFile]);
        var pixels = GC.AllocateUninitializedArray<byte>(Train * length);
        var labels = new byte[Train];
        var testPixels = GC.AllocateUninitializedArray<byte>(Test * length);
        var testLabels = new byte[Test];
        var perFile = Train / trainFiles.Length;
        DataFile.ReadAll(paths, (file, i) =>
        {
            if (i < trainFiles.Length)
            {
                CifarFile.Read(
                    file, labelBytes, classes.Length,
                    pixels.AsSpan(i * perFile * length, perFile * length), labels.AsSpan(i * perFile, perFile));
            }
            else
            {
                CifarFile.Read(file, labelBytes, classes.Length, testPixels, testLabels);
            }

            return i;
        });
        return Images(name, classes, CifarFile.Shape, pixels, labels, testPixels, testLabels, options);
    }

    /// <summary>
    /// Every split is standardised with the mean and deviation of all images in the training files: neither a limit nor
    /// a held-out part changes what the network is shown.
    /// </summary>
    private static Dataset Images(
        string name, string[] classes, ExampleShape shape,
        byte[] pixels, byte[] labels, byte[] testPixels, byte[] testLabels, DatasetOptions options)
    {
        var statistics = ChannelStatistics.Of(pixels, shape);
        return Dataset.Split(
            name, classes,
            new ByteImages(shape, classes.Length, pixels, labels, statistics),
            new ByteImages(shape, classes.Length, testPixels, testLabels, statistics),
            options);
    }
}
