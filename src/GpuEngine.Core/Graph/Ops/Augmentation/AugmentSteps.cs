namespace GpuEngine.Core.Graph;

/// <summary>What lies around an image that is padded.</summary>
public enum BorderMode
{
    /// <summary>One value, black unless another fill is given (torchvision's "constant").</summary>
    Zeros,

    /// <summary>The image mirrored at its edge pixels, which are not repeated.</summary>
    Reflect,
}

/// <summary>
/// torchvision.transforms.RandomCrop: a window of <paramref name="Size"/> at a uniformly drawn place of the padded image.
/// </summary>
/// <param name="Size">Height and width of the result.</param>
/// <param name="Padding">Left, top, right and bottom, torchvision's order.</param>
/// <param name="Border">What the padding holds.</param>
/// <param name="Fill">Its value with <see cref="BorderMode.Zeros"/>, in units of the image.</param>
/// <param name="Position">Top and left of the window in the padded image instead of drawn ones.</param>
public sealed record RandomCrop(SpatialPair Size, Ints Padding, BorderMode Border = BorderMode.Zeros, double Fill = 0, SpatialPair? Position = null)
{
    internal int Left => Padding[0];

    internal int Top => Padding[1];

    /// <summary>Places that the window may take along each axis of an image.</summary>
    internal SpatialPair Places(int height, int width) =>
        (height + Padding[1] + Padding[3] - Size.Height + 1, width + Padding[0] + Padding[2] - Size.Width + 1);

    internal void Check(int height, int width)
    {
        var places = Places(height, width);
        if (Size.Height < 1 || Size.Width < 1 || Padding.Count != 4 || Padding.Any(p => p < 0))
            throw new UserException($"random_crop: the size must be at least 1 and the padding at least 0, but they are {Size.Height}x{Size.Width} and {Padding}.");
        if (places.Height < 1 || places.Width < 1)
            throw new UserException($"random_crop: a crop of {Size.Height}x{Size.Width} does not fit into an image of {height}x{width} with padding {Padding}; use a smaller size or more padding.");
        if (Border == BorderMode.Reflect && (Padding[0] >= width || Padding[2] >= width || Padding[1] >= height || Padding[3] >= height))
            throw new UserException($"random_crop: padding {Padding} by reflection needs an image larger than the padding, but it is {height}x{width}; use padding_mode zeros.");
        if (Position is { } at && (at.Height < 0 || at.Width < 0 || at.Height >= places.Height || at.Width >= places.Width))
            throw new UserException($"random_crop: the position ({at.Height}, {at.Width}) is outside the padded image.");
    }
}

/// <summary>
/// torchvision.transforms.RandomResizedCrop (Szegedy et al. 2015, section 6): a window of a drawn share of the area and a drawn
/// aspect ratio, resized bilinearly (torch's align_corners false, without antialiasing) to <paramref name="Size"/>.
/// </summary>
/// <param name="Size">Height and width of the result.</param>
/// <param name="ScaleLow">Smallest share of the area.</param>
/// <param name="ScaleHigh">Largest share of the area.</param>
/// <param name="RatioLow">Smallest width / height.</param>
/// <param name="RatioHigh">Largest width / height.</param>
public sealed record RandomResizedCrop(
    SpatialPair Size, double ScaleLow = 0.08, double ScaleHigh = 1, double RatioLow = 3.0 / 4, double RatioHigh = 4.0 / 3)
{
    /// <summary>Draws until the window fits, then the largest central one of a permitted ratio.</summary>
    internal const int Attempts = 10;

    /// <summary>Terms of the exponential series; its error is below 1e-12 while the ratios span a factor of 1000.</summary>
    internal const int SeriesTerms = 24;

    private const double MostSpan = 1000;

    /// <summary>The drawn ratio is Middle e^y with y uniform in [-HalfSpan, HalfSpan): log-uniform.</summary>
    public double Middle => Math.Sqrt(RatioLow * RatioHigh);

    /// <summary>See <see cref="Middle"/>.</summary>
    public double HalfSpan => Math.Log(RatioHigh / RatioLow) / 2;

    /// <summary>The window where no attempt fits: top, left, height, width.</summary>
    public (int Top, int Left, int Height, int Width) Fallback(int height, int width)
    {
        var ratio = (double)width / height;
        var (h, w) = ratio < RatioLow ? ((int)Math.Round(width / RatioLow), width)
            : ratio > RatioHigh ? (height, (int)Math.Round(height * RatioHigh))
            : (height, width);
        return ((height - h) / 2, (width - w) / 2, h, w);
    }

    internal void Check()
    {
        if (Size.Height < 1 || Size.Width < 1) throw new UserException($"random_resized_crop: the size must be at least 1, but is {Size.Height}x{Size.Width}.");
        if (!(ScaleLow > 0 && ScaleLow <= ScaleHigh && ScaleHigh <= 1))
            throw new UserException($"random_resized_crop: the scale must be two increasing shares of the area above 0 and up to 1, but is [{ScaleLow}, {ScaleHigh}].");
        if (!(RatioLow > 0 && RatioLow <= RatioHigh && RatioHigh <= RatioLow * MostSpan))
            throw new UserException($"random_resized_crop: the ratio must be two increasing numbers above 0, at most a factor of {MostSpan} apart, but is [{RatioLow}, {RatioHigh}].");
    }
}

/// <summary>The range that a factor is drawn from, uniformly.</summary>
public readonly record struct FactorRange(double Low, double High)
{
    /// <summary>torchvision's short form: [max(0, 1 - amount), 1 + amount].</summary>
    public static FactorRange Around(double amount) => new(Math.Max(0, 1 - amount), 1 + amount);
}

/// <summary>A change of colour that jitter draws a factor for.</summary>
public enum ColorAdjustment
{
    Brightness, Contrast, Saturation, Hue,
}

/// <summary>
/// torchvision.transforms.ColorJitter on images in [0, 1]: the given adjustments, each with a factor drawn per image, in a drawn
/// order. Every one clamps to [0, 1]. An image of one channel has no saturation and no hue.
/// </summary>
/// <param name="Brightness">Factor of the image.</param>
/// <param name="Contrast">Factor of the difference from the image's mean grey.</param>
/// <param name="Saturation">Factor of the difference from the pixel's grey.</param>
/// <param name="Hue">Turn of the hue, in [-0.5, 0.5].</param>
public sealed record ColorJitter(FactorRange? Brightness = null, FactorRange? Contrast = null, FactorRange? Saturation = null, FactorRange? Hue = null)
{
    /// <summary>Weights of red, green and blue in grey (ITU-R BT.601, as torchvision rounds them).</summary>
    internal const double Red = 0.2989, Green = 0.587, Blue = 0.114;

    /// <summary>The range of an adjustment, or null where it is not made.</summary>
    public FactorRange? this[ColorAdjustment adjustment] => adjustment switch
    {
        ColorAdjustment.Brightness => Brightness,
        ColorAdjustment.Contrast => Contrast,
        ColorAdjustment.Saturation => Saturation,
        _ => Hue,
    };

    /// <summary>What is adjusted in an image of so many channels.</summary>
    public ColorAdjustment[] Adjustments(int channels) =>
        [.. Enum.GetValues<ColorAdjustment>().Where(a => this[a] is not null && (channels == 3 || a is ColorAdjustment.Brightness or ColorAdjustment.Contrast))];

    /// <summary>All orders of <paramref name="count"/> adjustments, lexicographically: order k is row k.</summary>
    public static int[][] Orders(int count)
    {
        var orders = new List<int[]> { Array.Empty<int>() };
        for (var place = 0; place < count; place++)
            orders = [.. orders.SelectMany(o => Enumerable.Range(0, count).Where(i => !o.Contains(i)).Select(i => (int[])[.. o, i]))];
        return [.. orders];
    }

    internal void Check()
    {
        foreach (var adjustment in Enum.GetValues<ColorAdjustment>())
        {
            if (this[adjustment] is not { } range) continue;
            var isHue = adjustment == ColorAdjustment.Hue;
            var (low, high) = isHue ? (-0.5, 0.5) : (0, double.MaxValue);
            if (!(range.Low >= low && range.Low <= range.High && range.High <= high))
            {
                throw new UserException(
                    $"color_jitter: {adjustment.ToString().ToLowerInvariant()} must be an increasing range {(isHue ? "within [-0.5, 0.5]" : "from 0")}, but is [{range.Low}, {range.High}].");
            }
        }
    }
}

/// <summary>
/// Cutout (DeVries and Taylor 2017): zeros in the square from centre - size/2 to centre + size/2 (whole numbers), the centre drawn
/// among all pixels; what hangs over the edge is cut off. It comes after normalisation, so zero is the mean.
/// </summary>
/// <param name="Size">Side of the square.</param>
public sealed record Cutout(int Size)
{
    internal int Half => Size / 2;

    internal void Check()
    {
        if (Size < 1) throw new UserException($"cutout: the side of the square must be at least 1, but is {Size}.");
    }
}
