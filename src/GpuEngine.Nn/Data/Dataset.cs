using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>A data set in its three splits. See <see cref="Datasets"/> for those known by name.</summary>
public sealed class Dataset
{
    /// <param name="name">The name it was asked for by.</param>
    /// <param name="classes">Class names by label.</param>
    /// <param name="train">What to learn from.</param>
    /// <param name="validation">What to choose hyper-parameters by, or null.</param>
    /// <param name="test">What to report.</param>
    /// <exception cref="UserException">The splits do not have one shape, or not the classes named.</exception>
    public Dataset(
        string name, IReadOnlyList<string> classes,
        IExampleSource train, IExampleSource? validation, IExampleSource test)
    {
        foreach (var other in new[] { train, validation, test })
        {
            if (other is null) continue;
            if (other.Shape != train.Shape)
            {
                throw new UserException(
                    $"The splits of data set '{name}' differ in shape: training examples are {train.Shape}, "
                    + $"others are {other.Shape}; use files of one data set.");
            }

            if (other.ClassCount != classes.Count)
            {
                throw new UserException(
                    $"Data set '{name}' has {classes.Count} class names but labels of {other.ClassCount} classes; "
                    + "give one name per class.");
            }
        }

        (Name, Classes, Train, Validation, Test) = (name, classes, train, validation, test);
    }

    public string Name { get; }

    public IReadOnlyList<string> Classes { get; }

    public ExampleShape Shape => Train.Shape;

    public IExampleSource Train { get; }

    /// <summary>Null when nothing was held out.</summary>
    public IExampleSource? Validation { get; }

    public IExampleSource Test { get; }

    /// <summary>
    /// Splits finite training examples: the last ones are held out for validation, and of the rest the first
    /// <see cref="DatasetOptions.Limit"/> are used.
    /// </summary>
    internal static Dataset Split(
        string name, IReadOnlyList<string> classes, IExampleSource train, IExampleSource test, DatasetOptions options)
    {
        var heldOut = options.Validation.Of(train.Count, name);
        if (heldOut >= train.Count)
        {
            throw new UserException(
                $"The validation split takes {heldOut} of the {train.Count} training examples of '{name}'; "
                + "leave some to train on.");
        }

        var kept = Math.Min(train.Count - heldOut, options.CheckedLimit ?? long.MaxValue);
        var validation = heldOut == 0 ? null : new ExampleRange(train, train.Count - heldOut, heldOut);
        return new Dataset(
            name, classes, kept == train.Count ? train : new ExampleRange(train, 0, kept), validation, test);
    }
}
