using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Initializers;

/// <summary>
/// The first in filters of a convolution [out, in, k, k] pass their channel through (torch's dirac_), the others start as torch's layers
/// do (Jordan 2024, section 3.2).
/// </summary>
public sealed class PartialDirac() : Initializer("partial_dirac")
{
    private static readonly Kaiming Others = new(normal: false, a: Math.Sqrt(5));

    public override void Fill(Span<float> values, Shape shape, ulong seed, uint stream)
    {
        Others.Fill(values, shape, seed, stream);
        Place(values, shape, 1f);
    }

    public override void Fill(Span<double> values, Shape shape, ulong seed, uint stream)
    {
        Others.Fill(values, shape, seed, stream);
        Place(values, shape, 1.0);
    }

    protected override void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream)
    {
        var all = new double[shape.Elements];
        Fill(all, shape, seed, stream);
        all.AsSpan((int)start, part.Length).CopyTo(part);
    }

    private static void Place<T>(Span<T> values, Shape shape, T one) where T : struct
    {
        var (channels, area) = (shape[1], shape[2] * shape[3]);
        for (var filter = 0; filter < Math.Min(shape[0], channels); filter++)
        {
            values.Slice(filter * channels * area, channels * area).Clear();
            values[(filter * channels + filter) * area + shape[2] / 2 * shape[3] + shape[3] / 2] = one;
        }
    }
}
