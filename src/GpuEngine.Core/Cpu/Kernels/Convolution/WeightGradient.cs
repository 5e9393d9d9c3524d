using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// The gradient of a convolution with respect to its weight. The lanes of a register are output channels (dy is transposed once
/// per image), the rows of a tile are input channels or taps of the image, and k runs over the pixels. Images are summed in a fixed
/// number of chunks, which are added at the end, so the result does not depend on the number of workers.
/// </summary>
internal sealed unsafe class WeightGradient<T, TVec, TSimd> : CpuKernel
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    private const int MostChunks = 16;
    private const long MostChunkBytes = 32L << 20;

    private readonly ConvAxis _rows;
    private readonly ConvAxis _columns;
    private readonly int _images;
    private readonly int _groups;
    private readonly int _inChannels;
    private readonly int _outChannels;
    private readonly int _kernelHeight;
    private readonly int _kernelWidth;
    private readonly int _outputRows;
    private readonly int _outputColumns;
    private readonly int _pitch;
    private readonly nint _plane;
    private readonly bool _inPlace;
    private readonly bool _tapRows;
    private readonly int _chunks;
    private readonly int _splits;
    private readonly int _panels;
    private readonly int _lanes;
    private readonly nint _sumElements;
    private readonly nint _imageElements;
    private readonly nint _gradientElements;
    private readonly int _workers;
    private readonly int[] _table;
    private bool _summing;

    public WeightGradient(ConvGeometry g, Shape x, Shape w, Shape y, int workers)
    {
        (_images, _groups, _inChannels, _outChannels) = (x[0], g.Groups, w[1], w[0] / g.Groups);
        (_kernelHeight, _kernelWidth, _outputRows, _outputColumns, _workers) = (w[2], w[3], y[2], y[3], workers);
        _rows = ConvAxis.Forward(y[2], x[2], w[2], g.Stride[0], g.Padding[0], g.Dilation[0]);
        _columns = ConvAxis.Forward(y[3], x[3], w[3], g.Stride[1], g.Padding[1], g.Dilation[1]);
        _inPlace = _columns.PadLow == 0 && _columns.PadHigh == 0 && (nint)x[2] * x[3] * sizeof(T) % 1024 != 0;
        _pitch = _columns.PadLow + x[3] + _columns.PadHigh;
        // Rows of a tile are channels of one place: planes must not fall on the same cache sets.
        _plane = _inPlace ? (nint)x[2] * x[3] : Skewed((nint)x[2] * _pitch);
        _tapRows = _kernelWidth > _inChannels;
        _lanes = RoundUp(_outChannels, TSimd.Width);
        _panels = (_lanes + PanelWidth - 1) / PanelWidth;
        _sumElements = (nint)_groups * _inChannels * _kernelHeight * _kernelWidth * _lanes;
        _chunks = (int)Math.Max(1, Math.Min(Math.Min(_images, MostChunks), MostChunkBytes / Math.Max(1, _sumElements * sizeof(T))));
        var units = _groups * (_tapRows ? _inChannels : Tiles(_inChannels));
        _splits = Math.Clamp((workers + _chunks - 1) / _chunks, 1, Math.Max(1, units));
        _imageElements = _inPlace ? 0 : RoundUp((nint)_groups * _inChannels * _plane);
        _gradientElements = RoundUp((nint)_groups * _outputRows * _outputColumns * _lanes);
        _table = GC.AllocateArray<int>(Math.Max(1, _outputRows * _outputColumns), pinned: true);
        for (var p = 0; p < _outputRows; p++)
        {
            for (var q = 0; q < _outputColumns; q++)
                _table[p * _outputColumns + q] = p * g.Stride[0] * _pitch + q * g.Stride[1];
        }
    }

    public override long WorkspaceBytes =>
        (RoundUp(_chunks * _sumElements) + _workers * (_imageElements + _gradientElements)) * sizeof(T);

    private static int PanelWidth => 2 * TSimd.Width;

    private nint Pixels => (nint)_outputRows * _outputColumns;

    public override void Run(CpuPool pool)
    {
        var work = (double)_sumElements * Pixels * _images;
        for (var phase = 0; phase < 2; phase++)
        {
            _summing = phase == 1;
            if (work >= 256 * 1024) pool.Run(this);
            else Execute(0, 1);
        }
    }

    public override void Execute(int worker, int workers)
    {
        var sums = (T*)Workspace;
        if (_summing)
        {
            var (from, to) = Share((long)_groups * _outChannels, worker, workers, 8);
            for (var channel = from; channel < to; channel++) Sum((int)(channel / _outChannels), (int)(channel % _outChannels), sums);
            return;
        }

        var image = sums + RoundUp(_chunks * _sumElements) + worker * (_imageElements + _gradientElements);
        if (!_inPlace) Unsafe.InitBlock(image, 0, checked((uint)(_imageElements * sizeof(T))));
        var (start, end) = Share((long)_chunks * _splits, worker, workers);
        for (var item = start; item < end; item++)
        {
            var (chunk, split) = ((int)(item / _splits), (int)(item % _splits));
            var target = sums + chunk * _sumElements;
            var first = (int)((long)_images * chunk / _chunks);
            var last = (int)((long)_images * (chunk + 1) / _chunks);
            if (first == last) new Span<T>(target, checked((int)_sumElements)).Clear();
            for (var n = first; n < last; n++) Add(n, n > first, split, target, image, image + _imageElements);
        }
    }

    private static int RoundUp(int size, int multiple) => (size + multiple - 1) / multiple * multiple;

    private static nint RoundUp(nint elements) => (elements + 63) / 64 * 64;

    private static nint Skewed(nint plane) => plane * sizeof(T) % 1024 == 0 ? plane + TSimd.Width : plane;

    private static int Tiles(int rows) => (rows + TSimd.TileRows - 1) / TSimd.TileRows;

    /// <summary>Adds one image to the sums of a chunk, for a split's share of the groups and rows.</summary>
    private void Add(int n, bool add, int split, T* sums, T* image, T* gradient)
    {
        var perGroup = _tapRows ? _inChannels : Tiles(_inChannels);
        var (start, end) = Share((long)_groups * perGroup, split, _splits);
        for (var group = (int)(start / perGroup); group * perGroup < end; group++)
        {
            var (from, to) = ((int)Math.Max(0, start - group * perGroup), (int)Math.Min(perGroup, end - group * perGroup));
            var firstChannel = _tapRows ? from : _inChannels * from / perGroup;
            var endChannel = _tapRows ? to : _inChannels * to / perGroup;
            var source = In<T>(1) + ((nint)n * _groups + group) * _inChannels * _rows.Input * _columns.Input;
            var origin = source;
            if (!_inPlace)
            {
                ConvRows<T, TVec, TSimd>.Spread(
                    source + (nint)firstChannel * _rows.Input * _columns.Input, (nint)_rows.Input * _columns.Input, _columns.Input,
                    image + firstChannel * _plane + _columns.PadLow, _plane, _pitch, endChannel - firstChannel, _rows.Input);
                origin = image + _columns.PadLow;
            }

            var dy = In<T>(0) + ((nint)n * _groups + group) * _outChannels * Pixels;
            for (var panel = 0; panel < _panels; panel++)
            {
                var k = panel * PanelWidth;
                ConvRows<T, TVec, TSimd>.Transpose(
                    dy + k * Pixels, Pixels, gradient + k * Pixels, Width(panel), Math.Min(PanelWidth, _outChannels - k), (int)Pixels);
            }

            Multiply(group, from, to, perGroup, origin, gradient, add, sums);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Multiply(int group, int from, int to, int perGroup, T* origin, T* gradient, bool add, T* sums)
    {
        fixed (int* table = _table)
        {
            for (var unit = from; unit < to; unit++)
            {
                var (channel, next) = _tapRows ? (unit, unit + 1) : (_inChannels * unit / perGroup, _inChannels * (unit + 1) / perGroup);
                for (var panel = 0; panel < _panels; panel++)
                {
                    var width = Width(panel);
                    var tile = new ConvTileArguments<T>
                    {
                        RowStep = _tapRows ? Dilation : _plane,
                        BStep = width,
                        BSecond = TSimd.Width,
                        Ldc = (nint)width * (_tapRows ? 1 : _kernelHeight * _kernelWidth),
                        CSecond = TSimd.Width,
                        AddC = add,
                    };
                    var target = At(sums, group, panel, channel);
                    for (var r = 0; r < _kernelHeight; r++)
                    {
                        var (first, end) = OutputRows(r);
                        tile.Table = table + first * _outputColumns;
                        tile.Depth = (nint)(end - first) * _outputColumns;
                        tile.B = gradient + panel * PanelWidth * Pixels + (nint)first * _outputColumns * width;
                        var row = origin + channel * _plane + _rows.Classes[0].Offsets[r] * (nint)_pitch;
                        var rowTarget = target + (nint)r * _kernelWidth * width;
                        if (_tapRows) TapTiles(&tile, row, rowTarget, width);
                        else ChannelTiles(&tile, row, rowTarget, width, next - channel);
                    }
                }
            }
        }
    }

    private nint Dilation => _kernelWidth < 2 ? 0 : _columns.Classes[0].Offsets[1] - _columns.Classes[0].Offsets[0];

    private void TapTiles(ConvTileArguments<T>* tile, T* row, T* target, int width)
    {
        var tiles = Tiles(_kernelWidth);
        for (var t = 0; t < tiles; t++)
        {
            var (from, to) = (_kernelWidth * t / tiles, _kernelWidth * (t + 1) / tiles);
            tile->A = row + _columns.Classes[0].Offsets[from];
            tile->C = target + (nint)from * width;
            ConvTileTable<T, TVec, TSimd>.Get(to - from, width / TSimd.Width, false, true)(tile);
        }
    }

    private void ChannelTiles(ConvTileArguments<T>* tile, T* row, T* target, int width, int channels)
    {
        for (var s = 0; s < _kernelWidth; s++)
        {
            tile->A = row + _columns.Classes[0].Offsets[s];
            tile->C = target + (nint)s * width;
            ConvTileTable<T, TVec, TSimd>.Get(channels, width / TSimd.Width, false, true)(tile);
        }
    }

    /// <summary>The output rows that meet the input at tap row <paramref name="r"/>.</summary>
    private (int Start, int End) OutputRows(int r)
    {
        var offset = _rows.Classes[0].Offsets[r];
        var start = Math.Max(0, (-offset + _rows.InStep - 1) / _rows.InStep);
        var end = Math.Min(_outputRows, (_rows.Input - 1 - offset + _rows.InStep) / _rows.InStep);
        return (Math.Min(start, Math.Max(0, end)), Math.Max(0, end));
    }

    private int Width(int panel) => Math.Min(PanelWidth, _lanes - panel * PanelWidth);

    /// <summary>The sums of a panel of output channels for an input channel: [tap][lane].</summary>
    private T* At(T* sums, int group, int panel, int channel)
    {
        var taps = (nint)_kernelHeight * _kernelWidth;
        return sums + ((nint)group * _lanes + panel * PanelWidth) * _inChannels * taps + channel * taps * Width(panel);
    }

    /// <summary>Adds the chunks of one output channel in order.</summary>
    private void Sum(int group, int channel, T* sums)
    {
        var taps = _kernelHeight * _kernelWidth;
        var (panel, lane) = (channel / PanelWidth, channel % PanelWidth);
        var width = Width(panel);
        var target = Out<T>(0) + ((nint)group * _outChannels + channel) * _inChannels * taps;
        var source = At(sums, group, panel, 0) + lane;
        for (var i = 0; i < _inChannels * taps; i++)
        {
            var sum = source[(nint)i * width];
            for (var chunk = 1; chunk < _chunks; chunk++) sum = Plus(sum, source[chunk * _sumElements + (nint)i * width]);
            target[i] = sum;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Plus(T a, T b) => typeof(T) == typeof(float)
        ? Unsafe.BitCast<float, T>(Unsafe.BitCast<T, float>(a) + Unsafe.BitCast<T, float>(b))
        : Unsafe.BitCast<double, T>(Unsafe.BitCast<T, double>(a) + Unsafe.BitCast<T, double>(b));
}
