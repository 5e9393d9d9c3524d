namespace GpuEngine.Core.Graph;

/// <summary>
/// <see cref="AugmentOp"/> in primitives: windows and flips are gathers by computed places. Draws and places are computed in f64 and f32
/// whatever the images are, so that every dtype sees the same windows.
/// </summary>
internal sealed class AugmentDecomposition
{
    private readonly AugmentOp _op;
    private readonly IReadOnlyList<Tensor> _inputs;
    private readonly DType _result;
    private readonly DType _compute;
    private readonly Tensor _uniform;
    private readonly int _images;
    private readonly int _channels;
    private readonly int _height;
    private readonly int _width;
    private readonly SpatialPair _size;

    public AugmentDecomposition(AugmentOp op, IReadOnlyList<Tensor> inputs)
    {
        (_op, _inputs) = (op, inputs);
        var shape = inputs[0].Shape;
        (_images, _channels, _height, _width) = (shape[0], shape[1], shape[2], shape[3]);
        _size = op.SizeOf(shape);
        _result = op.Infer([.. inputs.Select(t => t.Type)])[0].DType;
        _compute = inputs[0].DType.IsFloat() ? inputs[0].DType : AugmentOp.Compute(inputs[0].DType, _result);
        _uniform = F.Cast(F.RandomUniform(inputs[1], [_images, AugmentDraw.Words], DType.F32, op.Stream), DType.F64);
    }

    public Tensor Result()
    {
        var x = _inputs[0].DType.IsFloat() ? _inputs[0] : F.Cast(_inputs[0], _compute) / 255;
        if (_op.ResizedCrop is { } resized) x = Resized(x, resized);
        else if (_op.Crop is not null || _op.Flip > 0 || _op.FlipsGiven) x = Window(x);
        if (_op.Jitter is { } jitter) x = new AugmentColors(jitter, _channels, Factor(AugmentDraw.Order), a => Factor(AugmentDraw.Factors + (int)a)).Apply(x);
        if (_op.Normalizes) x = (x - PerChannel(2)) / PerChannel(3);
        if (_op.Cutout is { } cutout) x = F.Where(Hole(cutout), F.Scalar(0, x.DType), x);
        return F.Cast(x, _result);
    }

    /// <summary>A uniform number of every image, f64 [N, 1].</summary>
    private Tensor Word(int index) => F.Narrow(_uniform, 1, index, 1);

    /// <summary>The same as [N, 1, 1, 1], for colours.</summary>
    private Tensor Factor(int index) => F.Reshape(Word(index), [_images, 1, 1, 1]);

    private Tensor PerChannel(int input) => F.Cast(F.Reshape(_inputs[input], [1, _channels, 1, 1]), _compute);

    private static Tensor Numbers(int count, DType dtype = DType.F64) => F.Reshape(F.Arange(count, dtype), [1, count]);

    /// <summary>The column of the unflipped image for each of the result, f64 [N, W].</summary>
    private Tensor Columns()
    {
        var columns = F.BroadcastTo(Numbers(_size.Width), [_images, _size.Width]);
        if (_op is { Flip: 0, FlipsGiven: false }) return columns;
        var flipped = _op.FlipsGiven
            ? F.Ne(F.Reshape(_inputs[^1], [_images, 1]), F.Scalar(0, DType.I32))
            : F.Lt(Word(AugmentDraw.Flip), F.Scalar(_op.FlipThreshold, DType.F64));
        return F.Where(flipped, _size.Width - 1 - columns, columns);
    }

    /// <summary>Crop and flip: one gather.</summary>
    private Tensor Window(Tensor x)
    {
        var rows = F.BroadcastTo(Numbers(_size.Height), [_images, _size.Height]);
        var columns = Columns();
        if (_op.Crop is { } crop)
        {
            var places = crop.Places(_height, _width);
            var (top, left) = crop.Position is { } at
                ? (F.Full([_images, 1], at.Height, DType.F64), F.Full([_images, 1], at.Width, DType.F64))
                : (F.Floor(Word(AugmentDraw.Top) * places.Height), F.Floor(Word(AugmentDraw.Left) * places.Width));
            rows = rows + top - crop.Top;
            columns = columns + left - crop.Left;
            if (crop.Border == BorderMode.Reflect) (rows, columns) = (Mirror(rows, _height), Mirror(columns, _width));
        }

        var outside = F.Or(Rows(Outside(rows, _height)), Cells(Outside(columns, _width)));
        var places64 = F.Where(outside, F.Scalar(-1, DType.F64), Rows(rows) * _width + Cells(columns));
        var y = Take(x, places64);
        return _op.Crop is { Fill: not 0 } filled
            ? F.Where(F.Reshape(outside, [_images, 1, _size.Height, _size.Width]), F.Scalar(filled.Fill, y.DType), y)
            : y;
    }

    private static Tensor Mirror(Tensor place, int extent) => (extent - 1) - F.Abs((extent - 1) - F.Abs(place));

    private static Tensor Outside(Tensor place, int extent) =>
        F.Or(F.Lt(place, F.Scalar(0, DType.F64)), F.Ge(place, F.Scalar(extent, DType.F64)));

    /// <summary>[N, H] as [N, H, 1] and [N, W] as [N, 1, W].</summary>
    private Tensor Rows(Tensor x) => F.Reshape(x, [_images, _size.Height, 1]);

    private Tensor Cells(Tensor x) => F.Reshape(x, [_images, 1, _size.Width]);

    /// <summary>Pixels at places row W + column, [N, H', W'] for all channels; -1 gives 0.</summary>
    private Tensor Take(Tensor x, Tensor places)
    {
        var pixels = _size.Height * _size.Width;
        var index = F.BroadcastTo(F.Reshape(F.Cast(places, DType.I64), [_images, 1, pixels]), [_images, _channels, pixels]);
        return F.Reshape(F.Gather(F.Reshape(x, [_images, _channels, _height * _width]), index), [_images, _channels, _size.Height, _size.Width]);
    }

    private Tensor Resized(Tensor x, RandomResizedCrop crop)
    {
        var (top, left, height, width) = Box(crop);
        var (row0, row1, rowShare) = Neighbours(F.BroadcastTo(Numbers(_size.Height), [_images, _size.Height]), height, _size.Height);
        var (column0, column1, columnShare) = Neighbours(Columns(), width, _size.Width);
        (row0, row1, column0, column1) = (row0 + top, row1 + top, column0 + left, column1 + left);
        var across = F.Cast(F.Reshape(columnShare, [_images, 1, 1, _size.Width]), x.DType);
        var down = F.Cast(F.Reshape(rowShare, [_images, 1, _size.Height, 1]), x.DType);
        return (1 - down) * Line(row0) + down * Line(row1);

        Tensor Line(Tensor row) => (1 - across) * At(row, column0) + across * At(row, column1);

        Tensor At(Tensor row, Tensor column) => Take(x, Rows(row) * _width + Cells(column));
    }

    /// <summary>Where a pixel of the result lies between two of the window, as torch's upsample_bilinear2d computes it in f32.</summary>
    private static (Tensor First, Tensor Second, Tensor Share) Neighbours(Tensor place, Tensor extent, int result)
    {
        var scale = F.Cast(extent, DType.F32) / result;
        var source = F.Maximum((F.Cast(place, DType.F32) + 0.5) * scale - 0.5, F.Scalar(0, DType.F32));
        var first = F.Floor(source);
        return (F.Cast(first, DType.F64), F.Minimum(F.Cast(first, DType.F64) + 1, extent - 1), source - first);
    }

    /// <summary>The first of ten windows that fits, else the central one; each f64 [N, 1].</summary>
    private (Tensor Top, Tensor Left, Tensor Height, Tensor Width) Box(RandomResizedCrop crop)
    {
        var (top, left, height, width) = crop.Fallback(_height, _width);
        Tensor[] box = [.. new[] { top, left, height, width }.Select(v => F.Full([_images, 1], v, DType.F64))];
        for (var attempt = RandomResizedCrop.Attempts - 1; attempt >= 0; attempt--)
        {
            var first = AugmentDraw.Attempts + 4 * attempt;
            var area = (Word(first) * (crop.ScaleHigh - crop.ScaleLow) + crop.ScaleLow) * ((double)_height * _width);
            var ratio = Exp((Word(first + 1) - 0.5) * (2 * crop.HalfSpan)) * crop.Middle;
            var w = F.Floor(F.Sqrt(area * ratio) + 0.5);
            var h = F.Floor(F.Sqrt(area / ratio) + 0.5);
            var fits = F.And(Within(w, _width), Within(h, _height));
            Tensor[] drawn = [F.Floor(Word(first + 2) * (_height + 1 - h)), F.Floor(Word(first + 3) * (_width + 1 - w)), h, w];
            box = [.. box.Zip(drawn, (otherwise, value) => F.Where(fits, value, otherwise))];
        }

        return (box[0], box[1], box[2], box[3]);

        static Tensor Within(Tensor extent, int most) =>
            F.And(F.Gt(extent, F.Scalar(0, DType.F64)), F.Le(extent, F.Scalar(most, DType.F64)));
    }

    /// <summary>The exponential series by Horner's rule: processors' own exponentials differ in the last bit.</summary>
    private static Tensor Exp(Tensor y)
    {
        var sum = F.Ones(y.Shape, y.DType);
        for (var n = RandomResizedCrop.SeriesTerms; n >= 1; n--) sum = y * (1.0 / n) * sum + 1;
        return sum;
    }

    /// <summary>Where cutout erases, [N, 1, H, W].</summary>
    private Tensor Hole(Cutout cutout)
    {
        var rows = Between(Numbers(_size.Height), F.Floor(Word(AugmentDraw.CutoutRow) * _size.Height));
        var columns = Between(Numbers(_size.Width), F.Floor(Word(AugmentDraw.CutoutColumn) * _size.Width));
        return F.And(F.Reshape(rows, [_images, 1, _size.Height, 1]), F.Reshape(columns, [_images, 1, 1, _size.Width]));

        Tensor Between(Tensor place, Tensor centre) => F.And(F.Ge(place, centre - cutout.Half), F.Lt(place, centre + cutout.Half));
    }
}
