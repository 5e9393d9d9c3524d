using System.Numerics;
using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Colour jitter of one image in place, planes of channels one after the other; the arithmetic of AugmentColors.</summary>
internal sealed unsafe class ImageColors<T>(ColorJitter jitter, int channels, int pixels) where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly ColorAdjustment[] _adjustments = jitter.Adjustments(channels);
    private readonly int[][] _orders = ColorJitter.Orders(jitter.Adjustments(channels).Length);

    private static readonly T Red = T.CreateTruncating(ColorJitter.Red);
    private static readonly T Green = T.CreateTruncating(ColorJitter.Green);
    private static readonly T Blue = T.CreateTruncating(ColorJitter.Blue);
    private static readonly T Six = T.CreateTruncating(6);
    private static readonly T Two = T.CreateTruncating(2);
    private static readonly T Four = T.CreateTruncating(4);

    public void Apply(T* image, in ImageDraw draw)
    {
        foreach (var i in _orders[draw.Order])
        {
            var factor = T.CreateTruncating(draw.Factors[(int)_adjustments[i]]);
            switch (_adjustments[i])
            {
                case ColorAdjustment.Brightness:
                    for (var k = 0; k < channels * pixels; k++) image[k] = Clamp(factor * image[k]);
                    break;
                case ColorAdjustment.Contrast:
                    var grey = (T.One - factor) * MeanGrey(image);
                    for (var k = 0; k < channels * pixels; k++) image[k] = Clamp(factor * image[k] + grey);
                    break;
                case ColorAdjustment.Saturation:
                    Saturate(image, factor);
                    break;
                default:
                    for (var k = 0; k < pixels; k++) TurnHue(ref image[k], ref image[pixels + k], ref image[2 * pixels + k], factor);
                    break;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Clamp(T x) => T.Min(T.Max(x, T.Zero), T.One);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private T Grey(T* image, int k) => channels == 1 ? image[k] : image[k] * Red + image[pixels + k] * Green + image[2 * pixels + k] * Blue;

    /// <summary>
    /// The mean in f32 is a sum of whole multiples of 2^-32, so that it depends on no order; each is cut by less than that.
    /// </summary>
    private T MeanGrey(T* image)
    {
        if (typeof(T) == typeof(double))
        {
            var total = T.Zero;
            for (var k = 0; k < pixels; k++) total += Grey(image, k);
            return total / T.CreateTruncating(pixels);
        }

        var sum = 0L;
        for (var k = 0; k < pixels; k++) sum += long.CreateSaturating(Grey(image, k) * T.CreateTruncating(4294967296.0));
        return T.CreateTruncating(sum / (4294967296.0 * pixels));
    }

    private void Saturate(T* image, T factor)
    {
        for (var k = 0; k < pixels; k++)
        {
            var grey = (T.One - factor) * Grey(image, k);
            for (var c = 0; c < channels; c++) image[c * pixels + k] = Clamp(factor * image[c * pixels + k] + grey);
        }
    }

    private static void TurnHue(ref T r, ref T g, ref T b, T turn)
    {
        var value = T.Max(T.Max(r, g), b);
        var least = T.Min(T.Min(r, g), b);
        var range = value - least;
        var isGrey = value == least;
        var saturation = isGrey ? T.Zero : range / value;
        var divisor = isGrey ? T.One : range;
        var (fromR, fromG, fromB) = ((value - r) / divisor, (value - g) / divisor, (value - b) / divisor);
        var sixths = value == r ? fromB - fromG : value == g ? fromR + Two - fromB : fromG + Four - fromR;
        var hue = Fraction(Fraction(sixths / Six + T.One) + turn);

        var sector = T.Floor(hue * Six);
        var within = hue * Six - sector;
        var p = Clamp(value * (T.One - saturation));
        var q = Clamp(value * (T.One - saturation * within));
        var t = Clamp(value * (T.One - saturation * (T.One - within)));
        (r, g, b) = int.CreateTruncating(sector) switch
        {
            1 => (q, value, p),
            2 => (p, value, t),
            3 => (p, q, value),
            4 => (t, p, value),
            5 => (value, p, q),
            _ => (value, t, p),
        };
    }

    private static T Fraction(T x) => x - T.Floor(x);
}
