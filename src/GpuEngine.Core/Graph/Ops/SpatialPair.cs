namespace GpuEngine.Core.Graph;

/// <summary>A number per spatial axis (height, width); one number stands for both, as in torch.</summary>
public readonly record struct SpatialPair(int Height, int Width)
{
    public static implicit operator SpatialPair(int both) => new(both, both);

    public static implicit operator SpatialPair((int Height, int Width) pair) => new(pair.Height, pair.Width);

    public static implicit operator Ints(SpatialPair pair) => [pair.Height, pair.Width];

    public static SpatialPair Of(Ints pair) => new(pair[0], pair[1]);
}

/// <summary>The padding of a convolution: zeros per spatial axis, "valid" (none) or "same" (output as large as the input).</summary>
public readonly record struct ConvPadding
{
    private ConvPadding(SpatialPair amount, bool same) => (Amount, IsSame) = (amount, same);

    /// <summary>Zeros on each side, unless <see cref="IsSame"/>.</summary>
    public SpatialPair Amount { get; }

    public bool IsSame { get; }

    public static implicit operator ConvPadding(int both) => new(both, false);

    public static implicit operator ConvPadding((int Height, int Width) pair) => new(pair, false);

    public static implicit operator ConvPadding(SpatialPair pair) => new(pair, false);

    /// <exception cref="UserException">The word is neither "same" nor "valid".</exception>
    public static implicit operator ConvPadding(string word) => word switch
    {
        "same" => new(0, true),
        "valid" => new(0, false),
        _ => throw new UserException(NearestName.Sentence("padding of conv2d", word, ["same", "valid"])),
    };
}
