using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Tests.Images;

/// <summary>An augmentation of given images: the same numbers on every device.</summary>
/// <param name="Name">What it is for.</param>
/// <param name="Op">The steps.</param>
/// <param name="Shape">Of the images.</param>
internal sealed record AugmentCase(string Name, AugmentOp Op, Shape Shape)
{
    public DType Images { get; init; } = DType.F32;

    public bool Normalizes { get; init; }

    /// <summary>Every third image is flipped, instead of a draw.</summary>
    public bool GivesFlips { get; init; }

    public override string ToString() => $"{Name} {Images} {Shape}";

    /// <summary>Bytes, or floats between 0 and 1 of which bf16 holds every bit.</summary>
    public double[] Pixels()
    {
        var random = new Random(3);
        return [.. Enumerable.Range(0, (int)Shape.Elements).Select(_ => Images == DType.U8 ? random.Next(256) : random.Next(129) / 128.0)];
    }

    public double[] Run(IDevice device, long seed = 5, long offset = 2) => Run(device, Pixels(), seed, offset);

    public double[] Run(IDevice device, double[] pixels, long seed = 5, long offset = 2)
    {
        using var evaluation = Open(device);
        evaluation.Set("images", pixels);
        if (evaluation.Program.Inputs.Count > 1) evaluation.Set("generator", [seed, offset]);
        evaluation.Run();
        return evaluation.Get("y");
    }

    /// <summary>The program, with inputs `images` and `generator` and output `y`.</summary>
    public Evaluation Open(IDevice device)
    {
        var (images, generator) = (F.Input("images", Images, Shape), F.Input("generator", DType.I64, [2]));
        double[] mean = [.. Enumerable.Range(0, Shape[1]).Select(c => 0.4 + 0.05 * c)], deviation = [.. Enumerable.Range(0, Shape[1]).Select(c => 0.2 + 0.03 * c)];
        var flips = GivesFlips ? F.Literal([Shape[0]], DType.I32, [.. Enumerable.Range(0, Shape[0]).Select(n => n % 3 == 0 ? 1.0 : 0)]) : null;
        var y = F.Augment(images, Op, generator, Normalizes ? mean : null, Normalizes ? deviation : null, flips);
        return new Evaluation(device, [new("y", y)]);
    }
}
