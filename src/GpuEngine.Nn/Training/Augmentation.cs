using System.Globalization;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;

namespace GpuEngine.Nn.Training;

/// <summary>
/// The random transforms of training images, as --augment takes them:
/// <code>
/// augment = "none" | step { "," step }
/// step    = "crop:" padding [ ":zeros" | ":reflect" ]       a window of the image's size in the padded image
///         | "resized-crop" [ ":" low ":" high ]             a window of such a share of the area (0.08:1), resized to the image's size
///         | "flip" [ ":" probability | ":alternating" ]     left to right (0.5); alternating: see <see cref="AlternatesFlips"/>
///         | "jitter:" brightness [ ":" contrast [ ":" saturation [ ":" hue ] ] ]
///         | "cutout:" size                                  a square of zeros
/// </code>
/// In whatever order they are written, the steps are made as <see cref="AugmentOp"/> orders them: a window, the flip, colours, normalisation,
/// cutout. Each may be given once.
/// </summary>
public sealed record Augmentation
{
    private static readonly string[] Steps = ["none", "crop", "resized-crop", "flip", "jitter", "cutout"];

    public static Augmentation None { get; } = new();

    /// <summary>Pixels of padding around the image before a crop of its size; null for no crop.</summary>
    public int? CropPadding { get; init; }

    public BorderMode Border { get; init; }

    /// <summary>Range of the share of the area of a resized crop; null for none.</summary>
    public FactorRange? ResizedCrop { get; init; }

    /// <summary>Probability of a horizontal flip.</summary>
    public double Flip { get; init; }

    /// <summary>
    /// Half of the images are flipped in the first epoch, and in every later one all are flipped over (Jordan 2024, section 3.6): two
    /// epochs in a row show both sides of every image.
    /// </summary>
    public bool AlternatesFlips { get; init; }

    public ColorJitter? Jitter { get; init; }

    /// <summary>Side of the square that is erased; null for none.</summary>
    public int? Cutout { get; init; }

    /// <summary>Reads the text form; null is none.</summary>
    /// <exception cref="UserException">The text is no augmentation; the sentence says which part and what was expected.</exception>
    public static Augmentation Parse(string? text)
    {
        var result = None;
        if (text is null or "none") return result;
        var seen = new HashSet<string>();
        foreach (var step in text.Split(','))
        {
            var parts = step.Split(':');
            if (!Steps.Contains(parts[0])) throw new UserException($"--augment '{text}': {NearestName.Sentence("step", parts[0], Steps)}");
            if (parts[0] == "none") throw new UserException($"--augment '{text}': none stands alone; leave it out or leave out the rest.");
            if (!seen.Add(parts[0])) throw new UserException($"--augment '{text}': {parts[0]} is given twice; give it once.");
            result = new StepText(text, parts).AddTo(result);
        }

        if (result is { CropPadding: not null, ResizedCrop: not null })
            throw new UserException($"--augment '{text}': crop and resized-crop exclude each other; leave out one.");
        return result;
    }

    /// <summary>The steps for images of a shape, without normalisation.</summary>
    /// <param name="example">Shape of an image.</param>
    /// <param name="black">What zeros are in the crop's padding.</param>
    public AugmentOp ToOp(ExampleShape example, double black = 0)
    {
        SpatialPair size = (example.Height, example.Width);
        return new AugmentOp
        {
            Crop = CropPadding is { } padding ? new RandomCrop(size, Ints.Repeat(padding, 4), Border, black) : null,
            ResizedCrop = ResizedCrop is { } scale ? new RandomResizedCrop(size, scale.Low, scale.High) : null,
            Flip = Flip,
            Jitter = Jitter,
            Cutout = Cutout is { } side ? new Cutout(side) : null,
        };
    }

    /// <summary>One step's words and numbers.</summary>
    private sealed class StepText(string text, string[] parts)
    {
        public Augmentation AddTo(Augmentation steps)
        {
            switch (parts[0])
            {
                case "crop":
                    Arity(1, 2, "crop:PADDING or crop:PADDING:reflect, for example crop:4");
                    return steps with { CropPadding = Whole("padding", 1), Border = parts.Length > 2 ? BorderOf(parts[2]) : BorderMode.Zeros };
                case "resized-crop":
                    if (parts.Length != 1) Arity(2, 2, "resized-crop or resized-crop:LOW:HIGH, for example resized-crop:0.08:1");
                    var (low, high) = parts.Length == 1 ? (0.08, 1) : (Number(1, "the smallest share", v => v is > 0 and <= 1, "above 0 and up to 1"), Number(2, "the largest share", v => v is > 0 and <= 1, "above 0 and up to 1"));
                    return low <= high ? steps with { ResizedCrop = new(low, high) } : throw Wrong($"the smallest share {low} is more than the largest {high}");
                case "flip":
                    Arity(0, 1, "flip, flip:PROBABILITY or flip:alternating");
                    if (parts is [_, "alternating"]) return steps with { AlternatesFlips = true };
                    return steps with { Flip = parts.Length > 1 ? Number(1, "the probability", v => v is >= 0 and <= 1, "between 0 and 1") : 0.5 };
                case "jitter":
                    Arity(1, 4, "jitter:BRIGHTNESS:CONTRAST:SATURATION:HUE, from the left as many as wanted, for example jitter:0.4:0.4:0.4");
                    var jitter = new ColorJitter(Factor(1, "brightness"), Factor(2, "contrast"), Factor(3, "saturation"), Turn(4));
                    return jitter == new ColorJitter() ? steps : steps with { Jitter = jitter };
                default:
                    Arity(1, 1, "cutout:SIZE, for example cutout:8");
                    return steps with { Cutout = Whole("size", 1) };
            }
        }

        private void Arity(int least, int most, string form)
        {
            if (parts.Length - 1 < least || parts.Length - 1 > most) throw Wrong($"{parts[0]} is written {form}");
        }

        private int Whole(string what, int index) =>
            int.TryParse(parts[index], NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 0 and <= 1 << 20
                ? number
                : throw Wrong($"the {what} of {parts[0]} must be a whole number above 0, but is '{parts[index]}'");

        private double Number(int index, string what, Func<double, bool> valid, string range) =>
            double.TryParse(parts[index], NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) && valid(number)
                ? number
                : throw Wrong($"{what} of {parts[0]} must be a number {range}, but is '{parts[index]}'");

        private FactorRange? Factor(int index, string what)
        {
            if (index >= parts.Length) return null;
            var amount = Number(index, what, v => v >= 0, "from 0");
            return amount == 0 ? null : FactorRange.Around(amount);
        }

        private FactorRange? Turn(int index)
        {
            if (index >= parts.Length) return null;
            var amount = Number(index, "hue", v => v is >= 0 and <= 0.5, "between 0 and 0.5");
            return amount == 0 ? null : new(-amount, amount);
        }

        private BorderMode BorderOf(string word) => word switch
        {
            "zeros" => BorderMode.Zeros,
            "reflect" => BorderMode.Reflect,
            _ => throw new UserException($"--augment '{text}': {NearestName.Sentence("padding mode", word, ["zeros", "reflect"])}"),
        };

        private UserException Wrong(string what) => new($"--augment '{text}': {what}.");
    }
}
