using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// The gradient of a convolution with respect to its weight. The lanes of a register are output channels (dy is transposed once
/// per image), the rows of a tile are input channels, or taps of a row of the window, and k runs over the pixels. Where output
/// channels fill one register only, up to three rows of the window share a tile: the tap one row further down meets the same input
/// with dy of one row further up. Images are summed in a fixed number of chunks, which are added at the end, so the result does not
/// depend on the number of workers.
/// </summary>
internal sealed unsafe class WeightGradient<T, TVec, TSimd> : CpuKernel
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    private const int MostChunks = 16;
    private const long MostChunkBytes = 32L << 20;

    // Sums stay in registers over this many pixels if need be over several images.
    private const int EnoughPixels = 256;

    private readonly WeightGradientLayout<T> _layout;
    private readonly ConvTileTable<T, TVec, TSimd> _tiles = new();
    private readonly int _images;
    private readonly int _together;
    private readonly int _units;
    private readonly int _chunks;
    private readonly int _splits;
    private readonly nint _workerElements;
    private readonly int _workers;
    private bool _summing;

    public WeightGradient(ConvGeometry g, Shape x, Shape w, Shape y, int workers)
    {
        _layout = new(g, x, w, y, TSimd.Width);
        (_images, _workers) = (x[0], workers);
        var affordable = MostChunkBytes / Math.Max(1, _layout.SumElements * sizeof(T));
        _chunks = (int)Math.Max(1, Math.Min(Math.Min(_images, MostChunks), affordable));
        _together = Math.Clamp(EnoughPixels / Math.Max(1, _layout.Pixels), 1, Math.Max(1, (_images + _chunks - 1) / _chunks));
        // Rows of all tiles: one unit is one tile, or one channel whose rows are taps.
        var most = ConvTileTable<T, TVec, TSimd>.Rows(_layout.Registers);
        _units = _layout.RowsAreTaps ? _layout.InChannels : (_layout.InChannels + most - 1) / most;
        _splits = Math.Clamp((workers + _chunks - 1) / _chunks, 1, Math.Max(1, _layout.Groups * _units));
        _workerElements = _together * (_layout.ImageElements + _layout.GradientElements);
    }

    public override long WorkspaceBytes => (_chunks * _layout.SumElements + _workers * _workerElements) * sizeof(T);

    public override void Run(CpuPool pool)
    {
        var work = (double)_layout.SumElements * _layout.Pixels * _images;
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
            Sum(sums, worker, workers);
            return;
        }

        var scratch = sums + _chunks * _layout.SumElements + worker * _workerElements;
        // The space around the images and gradients is zero and stays so.
        Unsafe.InitBlock(scratch, 0, checked((uint)(_workerElements * sizeof(T))));
        var (start, end) = Share((long)_chunks * _splits, worker, workers);
        for (var item = start; item < end; item++)
        {
            var (chunk, split) = ((int)(item / _splits), (int)(item % _splits));
            var first = (int)((long)_images * chunk / _chunks);
            var last = (int)((long)_images * (chunk + 1) / _chunks);
            var (from, to) = Share((long)_layout.Groups * _units, split, _splits);
            for (var group = (int)(from / _units); group * _units < to; group++)
            {
                var units = ((int)Math.Max(0, from - group * _units), (int)Math.Min(_units, to - group * _units));
                Compute(group, units, first, last, sums + chunk * _layout.SumElements, scratch);
            }
        }
    }

    /// <summary>The sums of some tiles of a group over images [first, last).</summary>
    private void Compute(int group, (int Start, int End) units, int first, int last, T* sums, T* scratch)
    {
        var l = _layout;
        var (channel, endChannel) = (Channel(units.Start), Channel(units.End));
        for (var panel = 0; panel < l.Panels; panel++)
            new Span<T>(l.At(sums, group, panel, channel), (endChannel - channel) * l.Taps * l.PanelWidth(panel)).Clear();
        for (var n = first; n < last; n += _together)
        {
            var images = Math.Min(_together, last - n);
            var gradients = scratch + _together * l.ImageElements;
            for (var i = 0; i < images; i++)
            {
                var plane = ((nint)(n + i) * l.Groups + group) * l.InChannels + channel;
                ConvRows<T, TVec, TSimd>.Spread(
                    In<T>(1) + plane * l.InputPlane, l.InputPlane, l.Columns.Input,
                    scratch + i * l.ImageElements + (channel * l.Plane) + l.Columns.PadLow, l.Plane, l.Pitch,
                    endChannel - channel, l.Rows.Input);
                var dy = In<T>(0) + ((nint)(n + i) * l.Groups + group) * l.OutChannels * l.Pixels;
                for (var panel = 0; panel < l.Panels; panel++)
                {
                    var k = panel * l.FullPanel;
                    ConvRows<T, TVec, TSimd>.Transpose(
                        dy + (nint)k * l.Pixels, l.Pixels, l.Gradient(gradients + i * l.GradientElements, panel, 0), l.PanelWidth(panel),
                        Math.Min(l.FullPanel, l.OutChannels - k), l.Pixels);
                }
            }

            fixed (int* table = l.Table) Multiply(group, units, images, scratch, gradients, sums, table);
        }
    }

    /// <summary>The first input channel of a unit.</summary>
    private int Channel(int unit) => _layout.RowsAreTaps ? unit : (int)((long)_layout.InChannels * unit / _units);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Multiply(int group, (int Start, int End) units, int images, T* image, T* gradients, T* sums, int* table)
    {
        var l = _layout;
        var kernelWidth = l.KernelWidth;
        for (var unit = units.Start; unit < units.End; unit++)
        {
            var (channel, endChannel) = (Channel(unit), Channel(unit + 1));
            for (var panel = 0; panel < l.Panels; panel++)
            {
                var width = l.PanelWidth(panel);
                var tile = new ConvTileArguments<T>
                {
                    RowStep = l.RowsAreTaps ? l.TapStep : l.Plane,
                    BStep = width,
                    BRegister = l.RowsTogether > 1 ? -(nint)l.RowShift * l.OutputColumns * width : TSimd.Width,
                    Images = images,
                    ImageStep = l.ImageElements,
                    Ldc = (nint)width * (l.RowsAreTaps ? 1 : l.Taps),
                    CRegister = l.RowsTogether > 1 ? (nint)kernelWidth * width : TSimd.Width,
                    AddC = true,
                };
                var target = l.At(sums, group, panel, channel);
                for (var part = 0; part < l.RowParts; part++)
                {
                    var (r, nextRow) = (l.KernelHeight * part / l.RowParts, l.KernelHeight * (part + 1) / l.RowParts);
                    var (first, end) = l.OutputRows(r, nextRow - r);
                    tile.Table = table + first * l.OutputColumns;
                    tile.Depth = (nint)(end - first) * l.OutputColumns;
                    tile.PackedGap = l.GradientElements - tile.Depth * width;
                    tile.B = l.Gradient(gradients, panel, first);
                    var registers = l.RowsTogether > 1 ? nextRow - r : width / TSimd.Width;
                    var row = image + channel * l.Plane + l.Columns.PadLow + (nint)l.Rows.Classes[0].Offsets[r] * l.Pitch;
                    var rowTarget = target + (nint)r * kernelWidth * width;
                    var most = ConvTileTable<T, TVec, TSimd>.Rows(registers);
                    var tiles = l.RowsAreTaps ? (kernelWidth + most - 1) / most : kernelWidth;
                    for (var t = 0; t < tiles; t++)
                    {
                        var (s, nextTap) = (kernelWidth * t / tiles, kernelWidth * (t + 1) / tiles);
                        tile.A = row + l.Columns.Classes[0].Offsets[s];
                        tile.C = rowTarget + (nint)s * width;
                        var rows = l.RowsAreTaps ? nextTap - s : endChannel - channel;
                        _tiles.Get(rows, registers, false, true)(&tile);
                    }
                }
            }
        }
    }

    /// <summary>Adds the chunks in order and puts the result in the order of the weights.</summary>
    private void Sum(T* sums, int worker, int workers)
    {
        const int Block = 64;
        var l = _layout;
        var rows = l.InChannels * l.Taps;
        var blocks = (rows + Block - 1) / Block;
        var (start, end) = Share((long)l.Groups * l.Panels * blocks, worker, workers);
        for (var item = start; item < end; item++)
        {
            var (group, panel) = ((int)(item / blocks / l.Panels), (int)(item / blocks % l.Panels));
            var first = (int)(item % blocks) * Block;
            var count = Math.Min(Block, rows - first);
            var width = l.PanelWidth(panel);
            var total = l.At(sums, group, panel, 0) + (nint)first * width;
            for (var chunk = 1; chunk < _chunks; chunk++)
            {
                var part = total + chunk * l.SumElements;
                for (var i = 0; i < count * width; i += TSimd.Width)
                    TSimd.Store(total + i, TSimd.Add(TSimd.Load(total + i), TSimd.Load(part + i)));
            }

            var k = panel * l.FullPanel;
            var target = Out<T>(0) + ((nint)group * l.OutChannels + k) * rows + first;
            ConvRows<T, TVec, TSimd>.Transpose(total, width, target, rows, count, Math.Min(width, l.OutChannels - k));
        }
    }
}
