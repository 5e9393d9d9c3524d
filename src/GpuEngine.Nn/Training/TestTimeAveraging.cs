using System.Globalization;
using GpuEngine.Core;
using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Training;

/// <summary>One way to look at an image: moved by whole pixels, the edge mirrored, and perhaps mirrored left to right.</summary>
/// <param name="Down">Rows by which the window is moved down.</param>
/// <param name="Right">Columns by which it is moved right.</param>
/// <param name="Flip">Whether it is mirrored.</param>
public readonly record struct View(int Down, int Right, bool Flip)
{
    /// <summary>The image itself.</summary>
    public static View Plain => default;

    internal AugmentOp ToOp(Shape images)
    {
        var reach = Math.Max(Math.Abs(Down), Math.Abs(Right));
        return new AugmentOp
        {
            Flip = Flip ? 1 : 0,
            Crop = reach == 0 ? null : new RandomCrop((images[2], images[3]), Ints.Repeat(reach, 4), BorderMode.Reflect, Position: (reach + Down, reach + Right)),
        };
    }
}

/// <summary>
/// Averages the softmax probabilities of several views of each image (Krizhevsky et al. 2012, section 4.1), as --tta takes them:
/// <code>
/// tta  = "none" | part { "," part }
/// part = "flip"                       the image and its mirror image
///      | "crops:" count [ ":" shift ] the image and count - 1 others moved by shift pixels (1): to the corners, then along the axes
/// </code>
/// Together they multiply: flip,crops:3 looks at six views. The moved views are those of airbench (Jordan 2024, section 3.5).
/// </summary>
public sealed record TestTimeAveraging
{
    private static readonly (int Down, int Right)[] Directions = [(0, 0), (-1, -1), (1, 1), (-1, 1), (1, -1), (-1, 0), (1, 0), (0, -1), (0, 1)];
    private static readonly string[] Parts = ["none", "flip", "crops"];

    public static TestTimeAveraging None { get; } = new();

    public bool Flip { get; init; }

    /// <summary>Windows, 1 to 9.</summary>
    public int Crops { get; init; } = 1;

    /// <summary>Pixels by which they are moved.</summary>
    public int Shift { get; init; } = 1;

    public IReadOnlyList<View> Views =>
    [
        .. Directions.Take(Crops).SelectMany(d => (Flip ? new[] { false, true } : [false]).Select(flip => new View(d.Down * Shift, d.Right * Shift, flip))),
    ];

    /// <summary>Reads the text form; null is none.</summary>
    /// <exception cref="UserException">The text is not of that form.</exception>
    public static TestTimeAveraging Parse(string? text)
    {
        var result = None;
        if (text is null or "none") return result;
        var seen = new HashSet<string>();
        foreach (var part in text.Split(','))
        {
            var words = part.Split(':');
            if (!Parts.Contains(words[0])) throw new UserException($"--tta '{text}': {NearestName.Sentence("part", words[0], Parts)}");
            if (words[0] == "none") throw new UserException($"--tta '{text}': none stands alone; leave it out or leave out the rest.");
            if (!seen.Add(words[0])) throw new UserException($"--tta '{text}': {words[0]} is given twice; give it once.");
            if (words[0] == "flip" ? words.Length != 1 : words.Length is not (2 or 3))
                throw new UserException($"--tta '{text}': write flip, crops:COUNT or crops:COUNT:SHIFT, for example flip,crops:3.");
            result = words[0] == "flip"
                ? result with { Flip = true }
                : result with { Crops = Whole(words[1], Directions.Length, "number of crops"), Shift = words.Length > 2 ? Whole(words[2], 1 << 10, "shift") : 1 };
        }

        return result;

        int Whole(string word, int most, string what) =>
            int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= 1 && number <= most
                ? number
                : throw new UserException($"--tta '{text}': the {what} must be a whole number from 1 to {most}, but is '{word}'.");
    }

    /// <summary>
    /// The logarithm of the mean of the views' softmax; of a single view its logits as they are. The largest is taken out first, so that
    /// nothing underflows.
    /// </summary>
    internal static Tensor Average(IReadOnlyList<Tensor> logits)
    {
        if (logits.Count == 1) return logits[0];
        var all = F.Concat([.. logits.Select(l => F.Reshape(F.LogSoftmax(l, 1), new Shape([1, .. l.Shape])))], 0);
        var largest = F.Amax(all, [0]);
        return F.Reshape(largest + F.Log(F.Mean(F.Exp(all - largest), [0])), logits[0].Shape);
    }
}
