namespace GpuEngine.Core.Graph;

/// <summary>
/// The steps of <see cref="AugmentOp"/> as ops of their own, by the names and arguments of torchvision.transforms, and `augment`, all of them
/// in one. Random ones read seed and offset from the tensor `generator` i64[2], or from attributes.
/// </summary>
internal static class AugmentCatalog
{
    private static readonly OpAttribute[] Drawn =
    [
        new("seed", 0.0, "seed of the generator, unless the tensor `generator` is given"),
        new("offset", 0.0, "what advances from step to step"),
        new("stream", 0.0, "tells one consumer of random numbers from another"),
    ];

    private static readonly OpAttribute[] Flip = [new("p", 0.5, "probability of a flip")];

    private static readonly OpAttribute[] Crop =
    [
        new("size", null, "height and width of the result [those of the images]"),
        new("padding", 0.0, "on all sides; [left and right, top and bottom]; or [left, top, right, bottom]"),
        new("padding_mode", "zeros", "zeros (torchvision's constant, with fill) or reflect"),
        new("fill", 0.0, "what zeros means, in units of the images"),
    ];

    private static readonly OpAttribute[] ResizedCrop =
    [
        new("size", null, "height and width of the result [those of the images]"),
        new("scale", new[] { 0.08, 1.0 }, "range of the share of the area"),
        new("ratio", new[] { 3.0 / 4, 4.0 / 3 }, "range of width / height"),
    ];

    private static readonly OpAttribute[] Jitter =
    [
        new("brightness", 0.0, "half width of the factor's range around 1, or [low, high]"),
        new("contrast", 0.0, "the same of contrast"),
        new("saturation", 0.0, "the same of saturation"),
        new("hue", 0.0, "half width of the turn's range around 0, at most 0.5, or [low, high]"),
    ];

    private static readonly OpAttribute[] Normalize = [new("mean", null, "per channel"), new("std", null, "per channel")];

    internal static readonly OpSpec RandomHorizontalFlip = Entry(
        "random_horizontal_flip", "mirrors each image left to right with probability p", Flip, FlipOf,
        Images(3, 2, 3, 5), Images(9, 1, 2, 6, ("p", 0.3), ("seed", 5), ("offset", 3), ("stream", 2)), Images(2, 1, 2, 3, ("p", 1)));

    internal static readonly OpSpec RandomCropSpec = Entry(
        "random_crop", "a window at a random place of the padded image", Crop, CropOf,
        Images(4, 2, 5, 7, ("padding", 2)), Images(3, 1, 6, 5, ("padding", 3), ("padding_mode", "reflect"), ("seed", 1)),
        Images(2, 3, 7, 9, ("size", new[] { 4, 3 })), Images(3, 2, 4, 4, ("padding", new[] { 0, 3, 2, 1 }), ("fill", 0.5), ("seed", 2)));

    internal static readonly OpSpec RandomResizedCropSpec = Entry(
        "random_resized_crop", "a window of a random area and aspect ratio, resized bilinearly", ResizedCrop, ResizedCropOf,
        Images(4, 2, 8, 8), Images(3, 1, 5, 9, ("size", new[] { 7, 4 }), ("seed", 3)), Images(2, 1, 3, 12, ("scale", new[] { 0.9, 1 }), ("ratio", new[] { 1.0, 1.0 })));

    internal static readonly OpSpec ColorJitterSpec = Entry(
        "color_jitter", "brightness, contrast, saturation and hue by random factors, in a random order", Jitter, JitterOf,
        Colors(3, 3, 4, 5, ("brightness", 0.2)), Colors(3, 3, 3, 4, ("contrast", 0.3)), Colors(2, 3, 3, 3, ("saturation", 0.3)),
        Colors(4, 3, 3, 4, ("brightness", 0.1), ("contrast", 0.1), ("saturation", 0.1), ("seed", 4)),
        Colors(2, 1, 3, 3, ("contrast", new[] { 0.8, 1.1 }), ("saturation", 0.4)), Colors(2, 3, 2, 3, ("hue", 0.2), ("seed", 1)));

    internal static readonly OpSpec CutoutSpec = Entry(
        "cutout", "zeros in a square at a random place of each image", [new("size", 8.0, "side of the square")], CutoutOf,
        Images(3, 2, 9, 9), Images(4, 1, 6, 7, ("size", 3), ("seed", 8)));

    internal static readonly OpSpec NormalizeSpec = new("normalize", "(x - mean) / std of each channel")
    {
        Attributes = Normalize,
        Build = call => call.Output(F.Augment(
            call["input"], new AugmentOp(), F.Literal([2], DType.I64, 0, 0), call.Numbers("mean"), call.Numbers("std"))),
        Samples = [Images(2, 3, 3, 5, ("mean", new[] { 0.1, -0.2, 3 }), ("std", new[] { 0.5, 2, 0.1 })), Images(1, 1, 2, 2, ("mean", 1), ("std", 3))],
    };

    internal static readonly OpSpec Augment = Pipeline();

    internal static IReadOnlyList<OpSpec> All => [RandomHorizontalFlip, RandomCropSpec, RandomResizedCropSpec, ColorJitterSpec, CutoutSpec, NormalizeSpec, Augment];

    private static OpSpec Entry(string name, string summary, OpAttribute[] attributes, Func<OpCall, AugmentOp, AugmentOp> step, params OpSample[] samples) => new(name, summary)
    {
        Arguments = [new("input"), new("generator", Optional: true, Differentiable: false)],
        Attributes = [.. attributes, .. Drawn],
        Build = call => call.Output(F.Augment(call["input"], step(call, new AugmentOp { Stream = call.Integer("stream") }), Generator(call))),
        Samples = samples,
    };

    /// <summary>Every step that is asked for by its own attribute; cutout's is called cutout.</summary>
    private static OpSpec Pipeline()
    {
        OpAttribute[] steps =
        [
            new("crop", false, "random_crop with the attributes of that op"), new("resized_crop", false, "random_resized_crop"),
            new("cutout", 0.0, "side of cutout's square [none]"), new("dtype", null, "dtype of the result [the images', f32 of u8]"),
        ];
        return new OpSpec("augment", "crop, flip, colour jitter, normalisation and cutout in one launch; u8 images are taken as value / 255")
        {
            Arguments = [new("input"), new("generator", Optional: true, Differentiable: false)],
            Attributes = [.. steps, new("p", 0.0, "probability of a flip"), .. Crop, .. ResizedCrop.Skip(1), .. Jitter, .. Normalize, .. Drawn],
            Build = call =>
            {
                var op = FlipOf(call, new AugmentOp { Stream = call.Integer("stream"), To = call.Has("dtype") ? DTypes.Parse(call.Text("dtype")) : null });
                if (call.Flag("crop")) op = CropOf(call, op);
                if (call.Flag("resized_crop")) op = ResizedCropOf(call, op);
                if (call.Integer("cutout") != 0) op = op with { Cutout = new Cutout(call.Integer("cutout")) };
                op = JitterOf(call, op);
                return call.Output(F.Augment(call["input"], op, Generator(call), NumbersOf(call, "mean"), NumbersOf(call, "std")));
            },
            Samples =
            [
                Images(5, 3, 8, 8, ("crop", true), ("padding", 4), ("p", 0.5), ("cutout", 4), ("mean", new[] { 0.5, 0.4, 0.3 }), ("std", new[] { 0.2, 0.3, 0.4 }), ("seed", 6)),
                Images(3, 1, 5, 7, ("crop", true), ("padding", 2), ("padding_mode", "reflect"), ("p", 0.5), ("seed", 9)),
                Colors(4, 3, 6, 6, ("resized_crop", true), ("p", 0.5), ("brightness", 0.1), ("contrast", 0.1), ("cutout", 2), ("mean", new[] { 0.5, 0.4, 0.3 }), ("std", new[] { 0.2, 0.3, 0.4 })),
            ],
        };
    }

    private static AugmentOp FlipOf(OpCall call, AugmentOp op) => op with { Flip = call.Number("p") };

    private static AugmentOp CropOf(OpCall call, AugmentOp op)
    {
        var padding = call.Integers("padding");
        padding = padding.Count switch
        {
            1 => Ints.Repeat(padding[0], 4),
            2 => [padding[0], padding[1], padding[0], padding[1]],
            4 => padding,
            _ => throw new UserException($"op {op.Name}: attribute 'padding' must be one, two or four whole numbers, but is {padding}."),
        };
        var border = call.Choice("padding_mode", ("zeros", BorderMode.Zeros), ("constant", BorderMode.Zeros), ("reflect", BorderMode.Reflect));
        return op with { Crop = new RandomCrop(Size(call), padding, border, call.Number("fill")) };
    }

    private static AugmentOp ResizedCropOf(OpCall call, AugmentOp op)
    {
        var (scale, ratio) = (Two(call, "scale"), Two(call, "ratio"));
        return op with { ResizedCrop = new RandomResizedCrop(Size(call), scale.Low, scale.High, ratio.Low, ratio.High) };
    }

    private static AugmentOp JitterOf(OpCall call, AugmentOp op)
    {
        var jitter = new ColorJitter(Factors("brightness", FactorRange.Around), Factors("contrast", FactorRange.Around), Factors("saturation", FactorRange.Around), Factors("hue", h => new(-h, h)));
        return jitter == new ColorJitter() ? op : op with { Jitter = jitter };

        FactorRange? Factors(string name, Func<double, FactorRange> around)
        {
            if (call.Numbers(name).Count != 1) return Two(call, name);
            var amount = call.Number(name);
            if (amount < 0) throw new UserException($"color_jitter: {name} must not be negative, but is {amount}.");
            return amount == 0 ? null : around(amount);
        }
    }

    private static AugmentOp CutoutOf(OpCall call, AugmentOp op) => op with { Cutout = new Cutout(call.Integer("size")) };

    private static SpatialPair Size(OpCall call)
    {
        var images = call["input"].Shape;
        return call.Has("size") ? SpatialPair.Of(call.Pair("size")) : (images[^2], images[^1]);
    }

    private static FactorRange Two(OpCall call, string name)
    {
        var numbers = call.Numbers(name);
        return numbers.Count == 2 ? new(numbers[0], numbers[1]) : throw new UserException($"attribute '{name}' must be two numbers, low and high, but has {numbers.Count}.");
    }

    private static IReadOnlyList<double>? NumbersOf(OpCall call, string name) => call.Has(name) ? call.Numbers(name) : null;

    private static Tensor Generator(OpCall call) =>
        call.Optional("generator") ?? F.Literal([2], DType.I64, call.Integer("seed"), call.Integer("offset"));

    private static OpSample Images(int images, int channels, int height, int width, params (string Name, object Value)[] attributes) =>
        With(Sample.Normal(images, channels, height, width), attributes);

    /// <summary>Away from 0 and 1, where adjustments have kinks.</summary>
    private static OpSample Colors(int images, int channels, int height, int width, params (string Name, object Value)[] attributes) =>
        With(Sample.Uniform(0.3, 0.7, images, channels, height, width), attributes);

    private static OpSample With(Sample input, (string Name, object Value)[] attributes)
    {
        var sample = new OpSample { ["input"] = input };
        foreach (var (name, value) in attributes) sample.Attributes[name] = value;
        return sample;
    }
}
