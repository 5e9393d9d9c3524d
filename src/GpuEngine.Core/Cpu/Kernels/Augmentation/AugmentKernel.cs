using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Makes the kernel of an <see cref="AugmentOp"/> for its dtypes.</summary>
internal static class AugmentKernels
{
    public static CpuKernel? Create(Node node, int workers) => (node.Inputs[0].DType, node.Outputs[0].DType) switch
    {
        (DType.U8, DType.F32) => new AugmentKernel<byte, float, float>(node, workers),
        (DType.U8, DType.BF16) => new AugmentKernel<byte, float, Bf16>(node, workers),
        (DType.U8, DType.F64) => new AugmentKernel<byte, double, double>(node, workers),
        (DType.F32, DType.F32) => new AugmentKernel<float, float, float>(node, workers),
        (DType.F32, DType.BF16) => new AugmentKernel<float, float, Bf16>(node, workers),
        (DType.F64, DType.F64) => new AugmentKernel<double, double, double>(node, workers),
        _ => null,
    };
}

/// <summary>
/// Image by image while it is in the first-level cache: gather window and flip, adjust colours, normalise, erase. Bytes without colour jitter
/// or resizing go through a table of their 256 normalised values per channel.
/// </summary>
internal sealed unsafe class AugmentKernel<TIn, T, TOut> : CpuKernel
    where TIn : unmanaged
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TOut : unmanaged
{
    /// <summary>Values of a byte, and the fill.</summary>
    private const int TableRow = 257;

    private readonly AugmentOp _op;
    private readonly ImageDraw.Source _draws;
    private readonly ImageColors<T>? _colors;
    private readonly int _images;
    private readonly int _channels;
    private readonly int _height;
    private readonly int _width;
    private readonly int _rows;
    private readonly int _columns;
    private readonly T _fill;
    private readonly bool _usesTable;
    private readonly T[] _table;
    private readonly int _workerBytes;
    private readonly int _workers;

    public AugmentKernel(Node node, int workers)
    {
        _op = (AugmentOp)node.Op;
        var (from, to) = (node.Inputs[0].Shape, node.Outputs[0].Shape);
        (_images, _channels, _height, _width, _rows, _columns) = (from[0], from[1], from[2], from[3], to[2], to[3]);
        _draws = new ImageDraw.Source(_op, from);
        if (_op.Jitter is { } jitter) _colors = new ImageColors<T>(jitter, _channels, _rows * _columns);
        _fill = T.CreateTruncating(_op.Crop?.Fill ?? 0);
        _usesTable = typeof(TIn) == typeof(byte) && _op.Jitter is null && _op.ResizedCrop is null;
        _table = _usesTable ? new T[_channels * TableRow] : [];
        _workers = workers;
        // Two places and a share per column, and the image itself where it is rounded at the end.
        var bytes = _columns * (2 * sizeof(int) + sizeof(float)) + (typeof(T) == typeof(TOut) ? 0L : (long)_channels * _rows * _columns * sizeof(T));
        _workerBytes = checked((int)((bytes + 63) / 64 * 64));
    }

    public override long WorkspaceBytes => (long)_workerBytes * _workers;

    protected override bool IsParallel => (long)_images * _channels * _rows * _columns >= 8192 && _images > 1;

    public override void Run(CpuPool pool)
    {
        if (_usesTable) FillTable();
        base.Run(pool);
    }

    [SkipLocalsInit]
    public override void Execute(int worker, int workers)
    {
        var (seed, offset) = ((ulong)In<long>(1)[0], (uint)In<long>(1)[1]);
        var (start, end) = Share(_images, worker, workers);
        var columns = (int*)(Workspace + (nint)_workerBytes * worker);
        var second = columns + _columns;
        var share = (float*)(second + _columns);
        var length = _channels * _rows * _columns;
        for (var n = start; n < end; n++)
        {
            var draw = _draws.Of(n, seed, offset);
            if (_op.FlipsGiven) draw.Flip = In<int>(InputCount - 1)[n] != 0;
            var from = In<TIn>(0) + n * _channels * _height * _width;
            var to = Out<TOut>(0) + n * length;
            var image = typeof(T) == typeof(TOut) ? (T*)to : (T*)(share + _columns);
            if (_op.ResizedCrop is not null) Resize(image, from, draw, columns, second, share);
            else Gather(image, from, draw, columns);
            _colors?.Apply(image, draw);
            if (_op.Normalizes && !_usesTable) Normalize(image);
            if (_op.Cutout is not null) Erase(image, draw);
            if (typeof(T) != typeof(TOut)) Round((float*)image, (Bf16*)to, length);
        }
    }

    private static T Value(TIn x)
    {
        if (typeof(TIn) == typeof(byte)) return T.CreateTruncating(Unsafe.As<TIn, byte>(ref x)) / T.CreateTruncating(255);
        return Unsafe.As<TIn, T>(ref x);
    }

    private T Normalized(T value, int channel) => _op.Normalizes
        ? (value - T.CreateTruncating(In<float>(2)[channel])) / T.CreateTruncating(In<float>(3)[channel])
        : value;

    private void FillTable()
    {
        for (var c = 0; c < _channels; c++)
        {
            for (var i = 0; i < TableRow; i++)
            {
                var b = (byte)i;
                _table[c * TableRow + i] = Normalized(i < 256 ? Value(Unsafe.As<byte, TIn>(ref b)) : _fill, c);
            }
        }
    }

    /// <summary>The place in the image of a place in the window; -1 outside.</summary>
    private int Place(int at, int extent)
    {
        if (_op.Crop?.Border == BorderMode.Reflect) return extent - 1 - Math.Abs(extent - 1 - Math.Abs(at));
        return (uint)at < (uint)extent ? at : -1;
    }

    private void Gather(T* image, TIn* from, in ImageDraw draw, int* columns)
    {
        for (var x = 0; x < _columns; x++) columns[x] = Place((draw.Flip ? _columns - 1 - x : x) + draw.Left, _width);
        fixed (T* table = _table)
        {
            for (var c = 0; c < _channels; c++)
            {
                var values = table + c * TableRow;
                for (var y = 0; y < _rows; y++, image += _columns)
                {
                    var row = Place(y + draw.Top, _height);
                    if (row < 0) new Span<T>(image, _columns).Fill(_usesTable ? values[256] : _fill);
                    else if (_usesTable) Line(image, (byte*)(from + (c * _height + row) * _width), values, columns);
                    else Line(image, from + (c * _height + row) * _width, columns);
                }
            }
        }
    }

    private void Line(T* image, byte* from, T* values, int* columns)
    {
        for (var x = 0; x < _columns; x++) image[x] = values[columns[x] < 0 ? 256 : from[columns[x]]];
    }

    private void Line(T* image, TIn* from, int* columns)
    {
        for (var x = 0; x < _columns; x++) image[x] = columns[x] < 0 ? _fill : Value(from[columns[x]]);
    }

    /// <summary>torch's upsample_bilinear2d with align_corners false.</summary>
    private void Resize(T* image, TIn* from, in ImageDraw draw, int* first, int* second, float* share)
    {
        for (var x = 0; x < _columns; x++)
        {
            (first[x], second[x], share[x]) = Neighbours(draw.Flip ? _columns - 1 - x : x, draw.Width, _columns);
            (first[x], second[x]) = (first[x] + draw.Left, second[x] + draw.Left);
        }

        for (var c = 0; c < _channels; c++, from += _height * _width)
        {
            for (var y = 0; y < _rows; y++, image += _columns)
            {
                var (row0, row1, part) = Neighbours(y, draw.Height, _rows);
                var top = from + (row0 + draw.Top) * _width;
                var bottom = from + (row1 + draw.Top) * _width;
                var down = T.CreateTruncating(part);
                for (var x = 0; x < _columns; x++)
                {
                    var across = T.CreateTruncating(share[x]);
                    var upper = (T.One - across) * Value(top[first[x]]) + across * Value(top[second[x]]);
                    var lower = (T.One - across) * Value(bottom[first[x]]) + across * Value(bottom[second[x]]);
                    image[x] = (T.One - down) * upper + down * lower;
                }
            }
        }
    }

    private static (int First, int Second, float Share) Neighbours(int place, int extent, int result)
    {
        var scale = (float)extent / result;
        var source = Math.Max((place + 0.5f) * scale - 0.5f, 0);
        var first = (int)source;
        return (first, Math.Min(first + 1, extent - 1), source - first);
    }

    private void Normalize(T* image)
    {
        var pixels = _rows * _columns;
        for (var c = 0; c < _channels; c++, image += pixels)
        {
            var (mean, deviation) = (T.CreateTruncating(In<float>(2)[c]), T.CreateTruncating(In<float>(3)[c]));
            var i = 0;
            for (; i <= pixels - Vector512<T>.Count; i += Vector512<T>.Count)
                ((Vector512.Load(image + i) - Vector512.Create(mean)) / Vector512.Create(deviation)).Store(image + i);
            for (; i < pixels; i++) image[i] = (image[i] - mean) / deviation;
        }
    }

    private void Erase(T* image, in ImageDraw draw)
    {
        var wide = draw.HoleRight - draw.HoleLeft;
        if (wide <= 0) return;
        for (var c = 0; c < _channels; c++)
        {
            for (var y = draw.HoleTop; y < draw.HoleBottom; y++) new Span<T>(image + (c * _rows + y) * _columns + draw.HoleLeft, wide).Clear();
        }
    }

    private static void Round(float* from, Bf16* to, int length)
    {
        for (var i = 0; i < length; i++) to[i] = Bf16.FromSingle(from[i]);
    }
}
