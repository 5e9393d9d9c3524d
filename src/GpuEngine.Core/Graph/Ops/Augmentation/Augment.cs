namespace GpuEngine.Core.Graph;

/// <summary>
/// The transforms of a training batch in one launch, in this order: crop or resized crop, horizontal flip, colour jitter, per-channel
/// normalisation, cutout; each may be absent. Images of u8 are taken as value / 255 first.
/// <para>
/// Inputs: images [N, C, H, W] (u8 or float), the generator's state i64[2] (seed, offset), to normalise mean and deviation f32 [C], and
/// where flips are given i32 [N].
/// What is drawn follows from (seed, offset, stream, image) alone, see <see cref="AugmentDraw"/>; it is the same on every device and for
/// every dtype, and so is the result (single rounded operations in f32, sums of integers).
/// </para>
/// </summary>
public sealed record AugmentOp : FusedOp
{
    public RandomCrop? Crop { get; init; }

    public RandomResizedCrop? ResizedCrop { get; init; }

    /// <summary>Probability of a horizontal flip.</summary>
    public double Flip { get; init; }

    /// <summary>Whether a last input i32 [N] says which images are flipped (not 0) instead of a draw.</summary>
    public bool FlipsGiven { get; init; }

    public ColorJitter? Jitter { get; init; }

    /// <summary>Whether mean and deviation are given: (x - mean) / deviation.</summary>
    public bool Normalizes { get; init; }

    public Cutout? Cutout { get; init; }

    /// <summary>The result's dtype; null keeps that of float images and makes f32 of u8.</summary>
    public DType? To { get; init; }

    /// <summary>Tells this consumer of random numbers from others.</summary>
    public int Stream { get; init; }

    public override string Name => "augment";

    /// <summary>The probability of a flip rounded up to the grid of the uniform numbers, see <see cref="DropoutOp.Threshold"/>.</summary>
    public double FlipThreshold => Math.Ceiling(Flip * (1 << 24)) / (1 << 24);

    /// <summary>Height and width of the result.</summary>
    public SpatialPair SizeOf(Shape images) => Crop?.Size ?? ResizedCrop?.Size ?? (images[2], images[3]);

    /// <summary>The dtype of arithmetic: f64 for f64, else f32.</summary>
    internal static DType Compute(DType images, DType result) => images == DType.F64 || result == DType.F64 ? DType.F64 : DType.F32;

    /// <exception cref="UserException">A step is out of range or does not fit the images.</exception>
    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (x.Shape.Rank != 4 || !(x.DType.IsFloat() || x.DType == DType.U8) || inputs[1] != new TensorType(DType.I64, [2]))
            throw Mismatch(Name, "images [N, C, H, W] (u8 or float) and the generator's state i64[2] (seed, offset)", inputs);
        if (FlipsGiven && (Flip != 0 || inputs[^1] != new TensorType(DType.I32, [x.Shape[0]])))
            throw Mismatch(Name, "given flips i32 [N] and no probability of one", inputs);
        var perChannel = new TensorType(DType.F32, [x.Shape[1]]);
        if (Normalizes && (inputs[2] != perChannel || inputs[3] != perChannel))
            throw Mismatch("normalize", $"a mean and a deviation for each of {x.Shape[1]} channels", inputs);
        if (x.Shape[2] < 1 || x.Shape[3] < 1) throw new UserException($"{Name}: images must be at least 1x1, but are {x.Shape[2]}x{x.Shape[3]}.");
        if (Crop is not null && ResizedCrop is not null) throw new UserException("augment: crop and resized crop exclude each other; leave out one.");
        if (!(Flip >= 0 && Flip <= 1)) throw new UserException($"random_horizontal_flip: the probability p must lie between 0 and 1, but is {Flip}.");
        if (Jitter is not null && x.Shape[1] is not (1 or 3))
            throw new UserException($"color_jitter: images must have 1 or 3 channels, but have {x.Shape[1]}.");
        Crop?.Check(x.Shape[2], x.Shape[3]);
        ResizedCrop?.Check();
        Jitter?.Check();
        Cutout?.Check();
        var size = SizeOf(x.Shape);
        return [new TensorType(To ?? (x.DType == DType.U8 ? DType.F32 : x.DType), [x.Shape[0], x.Shape[1], size.Height, size.Width])];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) => [new AugmentDecomposition(this, inputs).Result()];

    /// <summary>Each pixel read once and written once; bilinear neighbours come from the cache.</summary>
    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Outputs[0].Type.Elements * ((Normalizes ? 2 : 0) + (ResizedCrop is null ? 0 : 9)));
}

public static partial class F
{
    /// <summary>Records a pipeline of image transforms, see <see cref="AugmentOp"/>.</summary>
    /// <param name="images">[N, C, H, W] or [C, H, W].</param>
    /// <param name="op">The steps.</param>
    /// <param name="generator">The generator's state i64[2]: (seed, offset).</param>
    /// <param name="mean">Subtracted from each channel; null for no normalisation.</param>
    /// <param name="std">Divides each channel.</param>
    /// <param name="flips">i32 [N]: which images are flipped; null draws it.</param>
    /// <exception cref="UserException">A step is out of range or does not fit the images.</exception>
    public static Tensor Augment(
        Tensor images, AugmentOp op, Tensor generator, IReadOnlyList<double>? mean = null, IReadOnlyList<double>? std = null, Tensor? flips = null)
    {
        if (images.Rank is not (3 or 4)) throw new ShapeException($"{op.Name}: expected images [N, C, H, W] or [C, H, W], but got {images.Type}.");
        var batch = images.Rank == 4 ? images : Reshape(images, new Shape([1, .. images.Shape]));
        Tensor[] inputs = [batch, generator];
        if (mean is not null && std is not null)
        {
            var channels = batch.Shape[1];
            if (mean.Count != channels || std.Count != channels)
                throw new UserException($"normalize: mean and std must have one number for each of {channels} channels, but have {mean.Count} and {std.Count}.");
            if (std.Any(s => !(s != 0 && double.IsFinite(s)))) throw new UserException($"normalize: std must not contain 0, but is [{string.Join(", ", std)}].");
            inputs = [.. inputs, Literal([channels], DType.F32, [.. mean]), Literal([channels], DType.F32, [.. std])];
            op = op with { Normalizes = true };
        }

        if (flips is not null) (inputs, op) = ([.. inputs, flips], op with { FlipsGiven = true });
        var y = op.Apply(inputs).Outputs[0];
        return images.Rank == 4 ? y : Reshape(y, new Shape(y.Shape.AsSpan()[1..]));
    }
}
