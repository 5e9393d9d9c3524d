using System.Globalization;
using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>Data sets by name. Files are read at once; generated sets cost nothing until they are read.</summary>
public static partial class Datasets
{
    /// <summary>Examples per epoch, and at most in the test split, of a generated set.</summary>
    public const long GeneratedCount = 10_000;

    /// <summary>Points in a playground set, as in TensorFlow playground: half train, half test.</summary>
    public const int PlaygroundCount = 500;

    private const string SyntheticForm = "synthetic:CxHxW:classes";

    /// <summary>Every name <see cref="Open"/> knows.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        "shapeset", "shapeset-hard", "mnist", "fashion-mnist", "cifar10", "cifar100", SyntheticForm,
        "circle", "xor", "gaussian", "spiral",
    ];

    /// <summary>
    /// The data set of a name. <c>synthetic:3x32x32:10</c> is an endless stream of 3x32x32 images in 10 classes;
    /// <c>synthetic:3x32x32:10:500</c> has 500 training images.
    /// </summary>
    /// <exception cref="UserException">The name is unknown, or its files or options are not good.</exception>
    public static Dataset Open(string name, DatasetOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        options ??= new DatasetOptions();
        return name switch
        {
            "shapeset" => Shapeset(options),
            "shapeset-hard" => Shapeset(options, smooth: false),
            "mnist" => Mnist(options.DataDir, options),
            "fashion-mnist" => FashionMnist(options.DataDir, options),
            "cifar10" => Cifar10(options.DataDir, options),
            "cifar100" => Cifar100(options.DataDir, options),
            "circle" => Playground(PlaygroundSet.Circle, options),
            "xor" => Playground(PlaygroundSet.Xor, options),
            "gaussian" => Playground(PlaygroundSet.Gaussian, options),
            "spiral" => Playground(PlaygroundSet.Spiral, options),
            _ when name.Split(':')[0] == "synthetic" => Synthetic(name, options),
            _ => throw new UserException(NearestName.Sentence("data set", name, Names)),
        };
    }

    /// <summary>
    /// Shapeset-3x2 without end, see <see cref="ShapesetExamples"/>; validation and test are streams of their own.
    /// </summary>
    /// <param name="options">Limit (images per epoch), validation and seed.</param>
    /// <param name="smooth">False draws without anti-aliasing.</param>
    public static Dataset Shapeset(DatasetOptions? options = null, bool smooth = true)
    {
        options ??= new DatasetOptions();
        return Generated(
            smooth ? "shapeset" : "shapeset-hard", ShapesetExamples.ClassNames, options, endless: true,
            (split, count, endless) => new ShapesetExamples(options.Seed, split, smooth, count, endless));
    }

    /// <summary>See <see cref="SyntheticImages"/>; validation and test are streams of their own.</summary>
    /// <param name="shape">Shape of an image.</param>
    /// <param name="classCount">Number of classes.</param>
    /// <param name="options">Limit (images per epoch), validation and seed.</param>
    /// <param name="endless">False repeats the same images in every epoch.</param>
    public static Dataset Synthetic(
        ExampleShape shape, int classCount, DatasetOptions? options = null, bool endless = true)
    {
        options ??= new DatasetOptions();
        var classes = Enumerable.Range(0, classCount).Select(i => i.ToString(CultureInfo.InvariantCulture)).ToArray();
        return Generated(
            $"synthetic:{shape}:{classCount}", classes, options, endless,
            (split, count, repeats) => new SyntheticImages(shape, classCount, options.Seed, split, count, repeats));
    }

    /// <summary>A point set of TensorFlow playground, split in halves for training and testing as there.</summary>
    /// <param name="set">Which one.</param>
    /// <param name="options">Limit, validation, seed and noise.</param>
    /// <param name="points">Training and test points together.</param>
    /// <exception cref="UserException">The options are not good.</exception>
    public static Dataset Playground(
        PlaygroundSet set, DatasetOptions? options = null, int points = PlaygroundCount)
    {
        options ??= new DatasetOptions();
        var all = PlaygroundPoints.Draw(set, points, options.Noise, options.Seed);
        var train = new ExampleRange(all, 0, points / 2);
        var test = new ExampleRange(all, points / 2, points - (points / 2));
        return Dataset.Split(set.ToString().ToLowerInvariant(), ["negative", "positive"], train, test, options);
    }

    private static Dataset Generated(
        string name, IReadOnlyList<string> classes, DatasetOptions options, bool endless,
        Func<DataSplit, long, bool, IExampleSource> create)
    {
        var count = options.CheckedLimit ?? GeneratedCount;
        var heldOut = options.Validation.Of(count, name);
        return new Dataset(
            name, classes,
            create(DataSplit.Train, count, endless),
            heldOut == 0 ? null : create(DataSplit.Validation, heldOut, false),
            create(DataSplit.Test, Math.Min(count, GeneratedCount), false));
    }

    private static Dataset Synthetic(string name, DatasetOptions options)
    {
        const int MaxLength = 1 << 24;
        const int MaxClasses = 1 << 16;
        var parts = name.Split(':');
        var sizes = parts.Length > 1 ? parts[1].Split('x').Select(Number).ToArray() : [];
        var classes = parts.Length > 2 ? Number(parts[2]) : 0;
        var count = parts.Length > 3 ? Number(parts[3]) : (int?)null;
        if (parts.Length is not (3 or 4) || sizes.Length != 3 || sizes.Contains(0) || count == 0
            || (double)sizes[0] * sizes[1] * sizes[2] > MaxLength || classes is < 2 or > MaxClasses)
        {
            throw new UserException(
                $"Data set '{name}' is not of the form {SyntheticForm} or {SyntheticForm}:images with 2 to "
                + $"{MaxClasses} classes and positive numbers, for example synthetic:3x32x32:10.");
        }

        if (count is { } images) options = options with { Limit = Math.Min(options.CheckedLimit ?? images, images) };
        return Synthetic(new ExampleShape(sizes[0], sizes[1], sizes[2]), classes, options, endless: count is null);

        // 0 stands for anything that is not a positive number.
        static int Number(string text) =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : 0;
    }
}
