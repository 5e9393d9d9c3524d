namespace GpuEngine.Core.Graph;

/// <summary>
/// Colour jitter in primitives, by torchvision.transforms.functional: adjust_brightness, adjust_contrast, adjust_saturation (blends with
/// black, the image's mean grey and the pixel's grey) and adjust_hue (a turn in HSV).
/// </summary>
/// <param name="jitter">Ranges of the factors.</param>
/// <param name="channels">1 or 3.</param>
/// <param name="order">The uniform number that draws the order, f64 [N, 1, 1, 1].</param>
/// <param name="uniform">That which draws an adjustment's factor.</param>
internal sealed class AugmentColors(ColorJitter jitter, int channels, Tensor order, Func<ColorAdjustment, Tensor> uniform)
{
    public Tensor Apply(Tensor x)
    {
        var adjustments = jitter.Adjustments(channels);
        if (adjustments.Length == 0) return x;
        var factors = adjustments.Select(a => Factor(a, x.DType)).ToArray();
        if (adjustments.Length == 1) return Adjust(adjustments[0], x, factors[0]);
        var orders = ColorJitter.Orders(adjustments.Length);
        var table = F.Literal([orders.Length, adjustments.Length], DType.F64, [.. orders.SelectMany(o => o).Select(i => (double)i)]);
        var images = x.Shape[0];
        var drawn = F.GatherRows(table, F.Cast(F.Reshape(F.Floor(order * orders.Length), [images]), DType.I64));
        for (var place = 0; place < adjustments.Length; place++)
        {
            var now = F.Reshape(F.Narrow(drawn, 1, place, 1), [images, 1, 1, 1]);
            var y = Adjust(adjustments[0], x, factors[0]);
            for (var i = 1; i < adjustments.Length; i++) y = F.Where(F.Eq(now, F.Scalar(i, DType.F64)), Adjust(adjustments[i], x, factors[i]), y);
            x = y;
        }

        return x;
    }

    /// <summary>Drawn in f64 and rounded to f32 once, for every dtype.</summary>
    private Tensor Factor(ColorAdjustment adjustment, DType dtype)
    {
        var range = jitter[adjustment]!.Value;
        return F.Cast(F.Cast(uniform(adjustment) * (range.High - range.Low) + range.Low, DType.F32), dtype);
    }

    private Tensor Adjust(ColorAdjustment adjustment, Tensor x, Tensor factor) => adjustment switch
    {
        ColorAdjustment.Brightness => Clamp(factor * x),
        ColorAdjustment.Contrast => Clamp(factor * x + (1 - factor) * F.Mean(Grey(x), [1, 2, 3])),
        ColorAdjustment.Saturation => Clamp(factor * x + (1 - factor) * Grey(x)),
        _ => TurnHue(x, factor),
    };

    private static Tensor Clamp(Tensor x) => F.Minimum(F.Maximum(x, F.Scalar(0, x.DType)), F.Scalar(1, x.DType));

    private Tensor Grey(Tensor x) => channels == 1
        ? x
        : F.Narrow(x, 1, 0, 1) * ColorJitter.Red + F.Narrow(x, 1, 1, 1) * ColorJitter.Green + F.Narrow(x, 1, 2, 1) * ColorJitter.Blue;

    private static Tensor TurnHue(Tensor x, Tensor turn)
    {
        var (r, g, b) = (F.Narrow(x, 1, 0, 1), F.Narrow(x, 1, 1, 1), F.Narrow(x, 1, 2, 1));
        var (zero, one) = (F.Scalar(0, x.DType), F.Scalar(1, x.DType));
        var value = F.Maximum(F.Maximum(r, g), b);
        var least = F.Minimum(F.Minimum(r, g), b);
        var range = value - least;
        var isGrey = F.Eq(value, least);
        var saturation = F.Where(isGrey, zero, range / F.Where(isGrey, one, value));
        var divisor = F.Where(isGrey, one, range);
        var (fromR, fromG, fromB) = ((value - r) / divisor, (value - g) / divisor, (value - b) / divisor);
        var sixths = F.Where(F.Eq(value, r), fromB - fromG, F.Where(F.Eq(value, g), fromR + 2 - fromB, fromG + 4 - fromR));
        var hue = Fraction(Fraction(sixths / 6 + 1) + turn);

        var sector = F.Floor(hue * 6);
        var within = hue * 6 - sector;
        var p = Clamp(value * (1 - saturation));
        var q = Clamp(value * (1 - saturation * within));
        var t = Clamp(value * (1 - saturation * (1 - within)));
        Tensor[] red = [value, q, p, p, t, value], green = [t, value, value, q, p, p], blue = [p, p, t, value, value, q];
        return F.Concat([Pick(red), Pick(green), Pick(blue)], 1);

        // Sector 6 is sector 0: a hue just below 0 rounds to 1.
        Tensor Pick(Tensor[] choices)
        {
            var y = choices[0];
            for (var i = 1; i < choices.Length; i++) y = F.Where(F.Eq(sector, F.Scalar(i, x.DType)), choices[i], y);
            return y;
        }
    }

    private static Tensor Fraction(Tensor x) => x - F.Floor(x);
}
