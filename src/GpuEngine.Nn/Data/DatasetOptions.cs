using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>How many training examples to hold out for validation.</summary>
public readonly record struct HoldOut
{
    private readonly long _count;
    private readonly double _fraction;

    private HoldOut(long count, double fraction) => (_count, _fraction) = (count, fraction);

    /// <summary>No validation split.</summary>
    public static HoldOut None => default;

    /// <summary>The last <paramref name="count"/> training examples.</summary>
    /// <exception cref="UserException">The count is negative.</exception>
    public static HoldOut Count(long count) => count >= 0
        ? new HoldOut(count, 0)
        : throw new UserException($"A validation split of {count} examples is not possible; give a number from 0.");

    /// <summary>The last part of the training examples, rounded to whole ones.</summary>
    /// <exception cref="UserException">The fraction is not in [0, 1).</exception>
    public static HoldOut Fraction(double fraction) => fraction is >= 0 and < 1
        ? new HoldOut(0, fraction)
        : throw new UserException(
            $"A validation split of {fraction} is not a fraction; give a number from 0 to below 1.");

    /// <summary>The number held out of <paramref name="total"/>.</summary>
    internal long Of(long total, string dataset)
    {
        var count = _fraction > 0 ? (long)Math.Round(_fraction * total) : _count;
        return _fraction > 0 && count == 0
            ? throw new UserException(
                $"A validation split of {_fraction} leaves no example of the {total} of '{dataset}'; give a larger "
                + "one.")
            : count;
    }
}

/// <summary>Choices that apply to every data set.</summary>
public sealed record DatasetOptions
{
    /// <summary>
    /// The folder that holds the files, or a folder of the data set's name that does. Unused by generated data.
    /// </summary>
    public string DataDir { get; init; } = "data";

    /// <summary>Use only the first so many training examples; of an endless set: examples per epoch.</summary>
    public long? Limit { get; init; }

    /// <summary>What to hold out of the training examples. Endless sets draw it from a stream of its own.</summary>
    public HoldOut Validation { get; init; }

    /// <summary>Seed of generated data: another seed is another data set.</summary>
    public ulong Seed { get; init; }

    /// <summary>
    /// Noise of the playground point sets, 0 to 0.5 as in TensorFlow playground (where it is shown as 0 to 50).
    /// </summary>
    public double Noise { get; init; }

    /// <exception cref="UserException">The limit is not positive.</exception>
    internal long? CheckedLimit => Limit is <= 0
        ? throw new UserException($"A limit of {Limit} training examples is not possible; give a number from 1.")
        : Limit;
}
