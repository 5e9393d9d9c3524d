using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// What <see cref="AugmentOp"/> draws for one image, from words of its own (<see cref="AugmentDraw"/>). The arithmetic is that of the
/// decomposition, operation by operation, so that every device gets the same bits.
/// </summary>
internal unsafe struct ImageDraw
{
    /// <summary>Whether columns run backwards.</summary>
    public bool Flip;

    /// <summary>First row and column of the window in the image; negative inside the padding.</summary>
    public int Top, Left;

    /// <summary>Extent of the window of a resized crop.</summary>
    public int Height, Width;

    /// <summary>Which order of the adjustments.</summary>
    public int Order;

    /// <summary>The factors in the order of <see cref="ColorAdjustment"/>.</summary>
    public fixed float Factors[4];

    /// <summary>The erased square: first row and column, and those after the last; clipped to the image.</summary>
    public int HoleTop, HoleLeft, HoleBottom, HoleRight;

    private void DrawWindow(RandomCrop crop, ref Words words, int height, int width)
    {
        var places = crop.Places(height, width);
        Top = (crop.Position?.Height ?? words.Below(AugmentDraw.Top, places.Height)) - crop.Top;
        Left = (crop.Position?.Width ?? words.Below(AugmentDraw.Left, places.Width)) - crop.Left;
    }

    private void DrawBox(RandomResizedCrop crop, ref Words words, int height, int width)
    {
        for (var attempt = 0; attempt < RandomResizedCrop.Attempts; attempt++)
        {
            var first = AugmentDraw.Attempts + 4 * attempt;
            var area = (words.Uniform(first) * (crop.ScaleHigh - crop.ScaleLow) + crop.ScaleLow) * ((double)height * width);
            var ratio = Exp((words.Uniform(first + 1) - 0.5) * (2 * crop.HalfSpan)) * crop.Middle;
            var w = Math.Floor(Math.Sqrt(area * ratio) + 0.5);
            var h = Math.Floor(Math.Sqrt(area / ratio) + 0.5);
            if (!(w > 0 && w <= width && h > 0 && h <= height)) continue;
            (Height, Width) = ((int)h, (int)w);
            (Top, Left) = (words.Below(first + 2, height + 1 - Height), words.Below(first + 3, width + 1 - Width));
            return;
        }

        (Top, Left, Height, Width) = crop.Fallback(height, width);
    }

    private static double Exp(double y)
    {
        var sum = 1.0;
        for (var n = RandomResizedCrop.SeriesTerms; n >= 1; n--) sum = y * (1.0 / n) * sum + 1;
        return sum;
    }

    private void DrawColors(ColorJitter jitter, int orders, ref Words words)
    {
        Order = words.Below(AugmentDraw.Order, orders);
        for (var i = 0; i < 4; i++)
        {
            if (jitter[(ColorAdjustment)i] is { } range) Factors[i] = (float)(words.Uniform(AugmentDraw.Factors + i) * (range.High - range.Low) + range.Low);
        }
    }

    private void DrawHole(Cutout cutout, ref Words words, SpatialPair size)
    {
        var (row, column) = (words.Below(AugmentDraw.CutoutRow, size.Height), words.Below(AugmentDraw.CutoutColumn, size.Width));
        (HoleTop, HoleBottom) = (Math.Max(row - cutout.Half, 0), Math.Min(row + cutout.Half, size.Height));
        (HoleLeft, HoleRight) = (Math.Max(column - cutout.Half, 0), Math.Min(column + cutout.Half, size.Width));
    }

    /// <summary>Draws for the images of one op, without allocating.</summary>
    public sealed class Source(AugmentOp op, Shape images)
    {
        private readonly SpatialPair _size = op.SizeOf(images);
        private readonly int _height = images[2];
        private readonly int _width = images[3];
        private readonly int _flips = (int)(op.FlipThreshold * (1 << 24));
        private readonly int _orders = op.Jitter is { } jitter ? ColorJitter.Orders(jitter.Adjustments(images[1]).Length).Length : 1;

        public ImageDraw Of(long image, ulong seed, uint offset)
        {
            var words = new Words(image, seed, (uint)op.Stream, offset);
            var draw = default(ImageDraw);
            draw.Flip = words.Below(AugmentDraw.Flip, 1 << 24) < _flips;
            if (op.Crop is { } crop) draw.DrawWindow(crop, ref words, _height, _width);
            if (op.ResizedCrop is { } resized) draw.DrawBox(resized, ref words, _height, _width);
            if (op.Jitter is { } jitter) draw.DrawColors(jitter, _orders, ref words);
            if (op.Cutout is { } cutout) draw.DrawHole(cutout, ref words, _size);
            return draw;
        }
    }

    /// <summary>The words of an image, four drawn at a time.</summary>
    private ref struct Words(long image, ulong seed, uint stream, uint offset)
    {
        private long _block = -1;
        private (uint X, uint Y, uint Z, uint W) _words;

        /// <summary>The upper 24 bits of a word, whose multiple of 2^-24 is the uniform number.</summary>
        private uint Mantissa(int index)
        {
            var block = (image * AugmentDraw.Words + index) / 4;
            if (block != _block) (_block, _words) = (block, Philox.ElementBlock(block, seed, stream, offset));
            return (index % 4) switch { 0 => _words.X, 1 => _words.Y, 2 => _words.Z, _ => _words.W } >> 8;
        }

        public double Uniform(int index) => Mantissa(index) * (1.0 / (1 << 24));

        public int Below(int index, int count) => (int)((long)Mantissa(index) * count >> 24);
    }
}
