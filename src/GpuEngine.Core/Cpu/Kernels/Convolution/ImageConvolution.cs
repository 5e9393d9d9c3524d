using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Convolutions and their input gradients. Workers take bands of images; a band's input rows are copied between zeros where taps
/// reach over the sides, then tiles read them in place, once per tap. The lanes of a register are output channels (results then
/// pass through a small transposition) or, where channels would leave lanes empty, pixels of a row.
/// </summary>
internal sealed unsafe class ImageConvolution<T, TVec, TSimd> : CpuKernel
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    // A band's input should stay in the second-level cache beside the weights.
    private const int BandBytes = 512 * 1024;
    private const int MostPixels = 56;

    private readonly ConvTask _task;
    private readonly ConvWeights<T> _weights;
    private readonly bool _pixelLanes;
    private readonly bool _inPlace;
    private readonly int _bands;
    private readonly int _pitch;
    private readonly nint _plane;
    private readonly nint _imageElements;
    private readonly nint _workerElements;
    private readonly int _workers;
    private readonly ConvTileTable<T, TVec, TSimd> _tiles = new();
    private bool _packing;

    /// <param name="task">What to compute from inputs 0 (image), 1 (weights) and, if there is one, 2 (bias).</param>
    /// <param name="workers">The most workers that a run may have.</param>
    public ImageConvolution(ConvTask task, int workers)
    {
        (_task, _workers) = (task, workers);
        var (rows, columns) = (task.Rows, task.Columns);
        _pixelLanes = PrefersPixels(task);
        var whole = columns.PadLow == 0 && columns.PadHigh == 0;
        _inPlace = whole && (!_pixelLanes || columns.Output % TSimd.Width == 0);
        _pitch = columns.PadLow + columns.Input + columns.PadHigh;
        var bytes = (long)task.InChannels * rows.Input * _pitch * sizeof(T);
        var planes = Math.Max(1, (long)task.Images * task.Groups);
        var wanted = Math.Max((workers + planes - 1) / planes, (bytes + BandBytes - 1) / BandBytes);
        _bands = (int)Math.Clamp(wanted, 1, Math.Max(1, rows.Output));
        var most = 0;
        for (var band = 0; band < _bands; band++)
        {
            var (start, end) = Band(band);
            var (first, last) = rows.Reach(start, end);
            most = Math.Max(most, last - first);
        }

        _plane = _inPlace ? task.InPlane : (nint)most * _pitch;
        if (_inPlace) _pitch = columns.Input;
        // Tiles of pixels load whole registers; the last one may reach over the end.
        _imageElements = _inPlace ? 0 : RoundUp(task.InChannels * _plane + TSimd.Width);
        _workerElements = _imageElements + (_pixelLanes ? 0 : RoundUp((nint)RowPixels * PanelWidth));
        _weights = _pixelLanes
            ? new ConvWeights<T>(task, TileSize(task.OutChannels, TSimd.TileRows), 1, _plane, _pitch)
            : new ConvWeights<T>(task, PanelWidth, TSimd.Width, _plane, _pitch);
    }

    public override long WorkspaceBytes => (RoundUp(_weights.Elements) + _workers * _workerElements) * sizeof(T);

    protected override bool IsParallel => true;

    private static int PanelWidth => 2 * TSimd.Width;

    /// <summary>Pixels of an output row that are computed between two transpositions.</summary>
    private int RowPixels => _task.Columns.OutStep == 1 ? Math.Min(_task.Columns.Output, MostPixels) : _task.Columns.Output;

    public override void Run(CpuPool pool)
    {
        _packing = true;
        if (_weights.Elements >= 16384) pool.Run(this);
        else Execute(0, 1);
        _packing = false;
        var work = (double)_weights.Depth * _task.OutPlane * _task.OutChannels * _task.Groups * _task.Images;
        if (work >= 256 * 1024) pool.Run(this);
        else Execute(0, 1);
    }

    public override void Execute(int worker, int workers)
    {
        var packed = (T*)Workspace;
        if (_packing)
        {
            var (from, to) = Share(_weights.Units, worker, workers);
            _weights.Pack(In<T>(1), packed, (int)from, (int)to);
            return;
        }

        var image = packed + RoundUp(_weights.Elements) + worker * _workerElements;
        if (!_inPlace) Unsafe.InitBlock(image, 0, checked((uint)(_imageElements * sizeof(T))));
        var perImage = _task.Groups * _bands;
        var (start, end) = Share((long)_task.Images * perImage, worker, workers);
        for (var item = start; item < end; item++)
        {
            var plane = item / _bands;
            Compute(plane, (int)(item % _bands), image, image + _imageElements, packed);
        }
    }

    private static nint RoundUp(nint elements) => (elements + 63) / 64 * 64;

    /// <summary>Cuts a size into equal tiles of at most <paramref name="most"/> and returns the largest.</summary>
    private static int TileSize(int size, int most)
    {
        var count = Math.Max(1, (size + most - 1) / most);
        return Math.Max(1, (size + count - 1) / count);
    }

    /// <summary>
    /// Whether pixels along the lanes take less time; that needs neighbours that lie side by side. Per step a tile of two registers
    /// per row is bound by its multiplications, one of a single register by its loads: it takes about six tenths of the time.
    /// </summary>
    private static bool PrefersPixels(ConvTask task)
    {
        var columns = task.Columns;
        if (columns.OutStep != 1 || columns.InStep != 1 || task.Rows.OutStep != 1) return false;
        var rest = task.OutChannels % PanelWidth;
        var channels = 10L * (task.OutChannels / PanelWidth) + (rest > TSimd.Width ? 10 : rest > 0 ? 6 : 0);
        // Two rows that fit into a register each share a tile.
        var isShort = columns.Output <= TSimd.Width && task.Rows.Output > 1;
        var pixels = isShort ? 5L : 10L * ((columns.Output + PanelWidth - 1) / PanelWidth);
        return pixels * task.OutChannels <= channels * columns.Output;
    }

    private (int Start, int End) Band(int band) =>
        ((int)((long)_task.Rows.Output * band / _bands), (int)((long)_task.Rows.Output * (band + 1) / _bands));

    /// <summary>One band of one group of one image.</summary>
    private void Compute(long plane, int band, T* image, T* scratch, T* packed)
    {
        var group = (int)(plane % _task.Groups);
        var source = In<T>(0) + plane * _task.InChannels * _task.InPlane;
        var target = Out<T>(0) + plane * _task.OutChannels * _task.OutPlane;
        var bias = InputCount > 2 ? In<T>(2) + group * _task.OutChannels : null;
        var (start, end) = Band(band);
        var (first, last) = _task.Rows.Reach(start, end);
        var origin = source;
        if (!_inPlace)
        {
            var columns = _task.Columns;
            ConvRows<T, TVec, TSimd>.Spread(
                source + first * columns.Input, _task.InPlane, columns.Input, image + columns.PadLow, _plane, _pitch,
                _task.InChannels, last - first);
            // The table counts from input row 0 and column 0.
            origin = image + columns.PadLow - first * _pitch;
        }

        for (var block = 0; block < _weights.Blocks; block++)
        {
            if (_pixelLanes) PixelRows(group, block, start, end, origin, target, bias, packed);
            else ChannelRows(group, block, start, end, origin, target, bias, scratch, packed);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void ChannelRows(int group, int block, int start, int end, T* origin, T* target, T* bias, T* scratch, T* packed)
    {
        var (rows, columns) = (_task.Rows, _task.Columns);
        var width = _weights.BlockWidth(block);
        var firstChannel = block * _weights.Block;
        var channels = Math.Min(width, _task.OutChannels - firstChannel);
        var biases = stackalloc T[2 * TSimd.Width];
        if (bias != null) new ReadOnlySpan<T>(bias + firstChannel, channels).CopyTo(new Span<T>(biases, width));
        var tile = new ConvTileArguments<T>
        {
            Images = 1,
            RowStep = columns.InStep,
            BStep = width,
            BRegister = TSimd.Width,
            Ldc = (nint)columns.OutStep * width,
            CRegister = TSimd.Width,
            Bias = bias == null ? null : biases,
        };
        var registers = width / TSimd.Width;
        for (var h = start; h < end; h++)
        {
            var rowClass = h % rows.OutStep;
            var i = h / rows.OutStep;
            var (tapStart, tapEnd) = rows.Inside(h);
            for (var pixel = 0; pixel < columns.Output; pixel += RowPixels)
            {
                var pixels = Math.Min(RowPixels, columns.Output - pixel);
                for (var columnClass = 0; columnClass < columns.Classes.Length; columnClass++)
                {
                    var count = columns.OutStep == 1 ? pixels : columns.Classes[columnClass].Count;
                    var step = _weights.Step(columnClass, tapStart);
                    tile.Depth = _weights.Step(columnClass, tapEnd) - step;
                    tile.Table = _weights.Table(rowClass, columnClass) + step;
                    tile.B = _weights.At(packed, group, block, rowClass, columnClass) + step * width;
                    var row = origin + (nint)rows.InStep * i * _pitch + (nint)columns.InStep * pixel;
                    var tiles = (count + TSimd.TileRows - 1) / TSimd.TileRows;
                    for (var t = 0; t < tiles; t++)
                    {
                        var (from, to) = (count * t / tiles, count * (t + 1) / tiles);
                        tile.A = row + (nint)columns.InStep * from;
                        tile.C = scratch + ((nint)columns.OutStep * from + columnClass) * width;
                        _tiles.Get(to - from, registers, false, true)(&tile);
                    }
                }

                ConvRows<T, TVec, TSimd>.Transpose(
                    scratch, width, target + firstChannel * _task.OutPlane + (nint)h * columns.Output + pixel, _task.OutPlane,
                    pixels, channels);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void PixelRows(int group, int block, int start, int end, T* origin, T* target, T* bias, T* packed)
    {
        var (rows, columns) = (_task.Rows, _task.Columns);
        var channels = _weights.BlockWidth(block);
        var firstChannel = block * _weights.Block;
        var weights = _weights.At(packed, group, block, 0, 0);
        var taps = rows.Classes[0].Taps.Length;
        var registers = (columns.Output + TSimd.Width - 1) / TSimd.Width;
        var rest = columns.Output - (registers - 1) * TSimd.Width;
        var tile = new ConvTileArguments<T> { Images = 1, Ldc = _task.OutPlane, Bias = bias == null ? null : bias + firstChannel };
        for (var p = start; p < end; p++)
        {
            var (tapStart, tapEnd) = rows.Inside(p);
            var step = _weights.Step(0, tapStart);
            tile.Depth = _weights.Step(0, tapEnd) - step;
            tile.Table = _weights.Table(0, 0) + step;
            tile.A = weights + step * channels;
            var row = origin + (nint)rows.InStep * p * _pitch;
            var c = target + firstChannel * _task.OutPlane + (nint)p * columns.Output;
            // Two short rows make one tile where they meet the same taps.
            var pair = registers == 1 && p + 1 < end && tapEnd - tapStart == taps && rows.Inside(p + 1) == (0, taps);
            for (var register = 0; register < registers; register += 2)
            {
                var two = pair || register + 1 < registers;
                tile.B = row + register * TSimd.Width;
                tile.C = c + register * TSimd.Width;
                tile.BRegister = pair ? (nint)rows.InStep * _pitch : TSimd.Width;
                tile.CRegister = pair ? columns.Output : TSimd.Width;
                tile.LanesSecond = pair || register + 2 == registers ? rest : TSimd.Width;
                tile.Lanes = register + 1 == registers ? rest : TSimd.Width;
                var partial = rest != TSimd.Width && (tile.Lanes == rest || tile.LanesSecond == rest);
                _tiles.Get(channels, two ? 2 : 1, partial, false)(&tile);
            }

            if (pair) p++;
        }
    }
}
