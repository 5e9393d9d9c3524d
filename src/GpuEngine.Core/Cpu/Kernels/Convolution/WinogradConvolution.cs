using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using Plain = GpuEngine.Core.Cpu.Gemm.BiasEpilogue<float, GpuEngine.Core.Cpu.Gemm.NoBias, GpuEngine.Core.Cpu.Gemm.Identity>;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// 3 x 3 convolutions and their input gradients by Winograd's F(2x2, 3x3): y = A' [(G w G') . (B' x B)] A, summed over channels before the last
/// step, which takes 16 multiplications where the definition takes 36. Only additions and halves are in the transformations, so the error stays
/// that of a plain f32 sum within a small factor (Lavin and Gray 2016, section 5.1; held by tests).
/// </summary>
internal sealed unsafe class WinogradConvolution<TVec, TSimd> : CpuKernel
    where TVec : struct
    where TSimd : struct, ISimd<TVec, float>
{
    private const int Components = 16;

    private readonly ConvTask _task;
    private readonly WinogradTiles _tiles;
    private readonly int _workers;
    private readonly int _inChannels;
    private readonly int _outChannels;
    private bool _packing;

    /// <param name="task">What to compute from inputs 0 (image), 1 (weights) and, if there is one, 2 (bias).</param>
    /// <param name="workers">The most workers that a run may have.</param>
    public WinogradConvolution(ConvTask task, int workers)
    {
        (_task, _workers, _inChannels, _outChannels) = (task, workers, task.InChannels, task.OutChannels);
        _tiles = new WinogradTiles(task, TSimd.Width);
    }

    public override long WorkspaceBytes => (WeightElements + _workers * WorkerElements) * sizeof(float);

    protected override bool IsParallel => true;

    private long WeightElements => RoundUp(Components * Step(_outChannels, _inChannels));

    private long ImageElements => RoundUp(4L * _inChannels * _tiles.PlaneElements);

    private long InputElements => RoundUp(Components * Step(_inChannels, _tiles.MostOfChunk));

    private long ProductElements => RoundUp(Components * Step(_outChannels, _tiles.MostOfChunk));

    // Planes of an image, transformed inputs, products, and one channel's outputs by parity.
    private long WorkerElements => ImageElements + InputElements + ProductElements + RoundUp(4L * _tiles.MostOfChunk);

    public override void Run(CpuPool pool)
    {
        _packing = true;
        pool.Run(this);
        _packing = false;
        pool.Run(this);
    }

    public override void Execute(int worker, int workers)
    {
        if (_packing)
        {
            var (from, to) = Share(RowTiles, worker, workers);
            for (var tile = from; tile < to; tile++) Pack((int)tile);
            return;
        }

        var image = (float*)Workspace + WeightElements + worker * WorkerElements;
        Unsafe.InitBlock(image, 0, checked((uint)(ImageElements * sizeof(float))));
        var (start, end) = Share((long)_task.Images * _tiles.Chunks, worker, workers);
        var present = -1L;
        for (var item = start; item < end; item++)
        {
            var n = item / _tiles.Chunks;
            if (n != present) Spread(In<float>(0) + n * _inChannels * _task.InPlane, image);
            present = n;
            Compute((int)(item % _tiles.Chunks), image, Out<float>(0) + n * _outChannels * _task.OutPlane);
        }
    }

    /// <summary>
    /// From one component to the next. The sixteen are written and read together, so they must not fall on the same lines of the first-level cache.
    /// </summary>
    private static long Step(int channels, int count) => (long)channels * count + 16;

    private static long RoundUp(long elements) => (elements + 63) / 64 * 64;

    /// <summary>Output channels are taken in equal tiles of rows.</summary>
    private int RowTiles => (_outChannels + TSimd.TileRows - 1) / TSimd.TileRows;

    private (int Start, int End) RowTile(int tile) => (_outChannels * tile / RowTiles, _outChannels * (tile + 1) / RowTiles);

    /// <summary>G w G' of a tile of output channels, as [component][input channel][output channel of the tile].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Pack(int tile)
    {
        var (start, end) = RowTile(tile);
        var rows = end - start;
        var step = Step(_outChannels, _inChannels);
        var to = Weights(0, start);
        var places = stackalloc int[9];
        for (var i = 0; i < 9; i++) places[i] = _tiles.RowTaps[i / 3] * 3 + _tiles.ColumnTaps[i % 3];
        for (var c = 0; c < _inChannels; c++)
        {
            var w = In<float>(1) + start * _task.OutStride + c * _task.InStride;
            var u = to + (long)c * rows;
            for (var o = 0; o < rows; o++, u++, w += _task.OutStride)
            {
                var (a0, a1, a2, a3) = Spread(w[places[0]], w[places[3]], w[places[6]]);
                var (b0, b1, b2, b3) = Spread(w[places[1]], w[places[4]], w[places[7]]);
                var (d0, d1, d2, d3) = Spread(w[places[2]], w[places[5]], w[places[8]]);
                (u[0], u[step], u[2 * step], u[3 * step]) = Spread(a0, b0, d0);
                (u[4 * step], u[5 * step], u[6 * step], u[7 * step]) = Spread(a1, b1, d1);
                (u[8 * step], u[9 * step], u[10 * step], u[11 * step]) = Spread(a2, b2, d2);
                (u[12 * step], u[13 * step], u[14 * step], u[15 * step]) = Spread(a3, b3, d3);
            }
        }
    }

    /// <summary>G times three values.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (float, float, float, float) Spread(float a, float b, float c)
    {
        var ends = a + c;
        return (a, (ends + b) * 0.5f, (ends - b) * 0.5f, c);
    }

    private float* Weights(int component, int firstChannel) => (float*)Workspace + component * Step(_outChannels, _inChannels) + (long)firstChannel * _inChannels;

    /// <summary>Deals an image out to its planes of parity; what lies outside of it stays zero.</summary>
    private void Spread(float* source, float* image)
    {
        var (rows, columns) = (_task.Rows.Input, _task.Columns.Input);
        // Where rows and columns of the input lie in the planes; windows may begin before the input or behind its first rows.
        var (top, left) = (-_tiles.FirstRow, -_tiles.FirstColumn);
        var skip = Math.Max(0, -left);
        var width = Math.Min(columns, 2 * _tiles.Pitch - left) - skip;
        if (width <= 0) return;
        var first = left + skip;
        for (var c = 0; c < _inChannels; c++)
        {
            var planes = image + 4L * c * _tiles.PlaneElements;
            for (var h = Math.Max(0, -top); h < rows && h + top < 2 * (_tiles.TileRows + 1); h++)
            {
                var row = planes + (h + top) % 2 * 2L * _tiles.PlaneElements + (h + top) / 2 * (long)_tiles.Pitch;
                PairColumns.Deal(
                    source + ((long)c * rows + h) * columns + skip, width, row + first % 2 * (long)_tiles.PlaneElements + first / 2,
                    row + (first + 1) % 2 * (long)_tiles.PlaneElements + (first + 1) / 2);
            }
        }
    }

    private void Compute(int chunk, float* image, float* target)
    {
        var (start, end) = _tiles.Chunk(chunk);
        var count = end - start;
        var inputs = image + ImageElements;
        var products = inputs + InputElements;
        for (var c = 0; c < _inChannels; c++) TransformInput(image + 4L * c * _tiles.PlaneElements + start, inputs + (long)c * count, count);
        Multiply(inputs, products, count);
        var bias = InputCount > 2 ? In<float>(2) : null;
        var outputs = products + ProductElements;
        for (var k = 0; k < _outChannels; k++)
        {
            TransformOutput(products + (long)k * count, outputs, count, bias == null ? 0 : bias[k]);
            Store(outputs, start, count, target + k * _task.OutPlane);
        }
    }

    /// <summary>B' x B of one channel's tiles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void TransformInput(float* planes, float* inputs, int count)
    {
        var step = Step(_inChannels, count);
        for (var n = 0; n < count; n += TSimd.Width)
        {
            var at = planes + n;
            var to = inputs + n;
            var (a0, a1, a2, a3) = Columns(at, 0);
            var (b0, b1, b2, b3) = Columns(at, 1);
            var (c0, c1, c2, c3) = Columns(at, 2);
            var (d0, d1, d2, d3) = Columns(at, 3);
            Rows(to, step, a0, b0, c0, d0);
            Rows(to + 4 * step, step, a1, b1, c1, d1);
            Rows(to + 8 * step, step, a2, b2, c2, d2);
            Rows(to + 12 * step, step, a3, b3, c3, d3);
        }
    }

    /// <summary>Column j of B' x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private (TVec, TVec, TVec, TVec) Columns(float* at, int j)
    {
        var even = at + (j & 1) * (long)_tiles.PlaneElements + j / 2;
        var odd = even + 2L * _tiles.PlaneElements;
        var (x0, x1) = (TSimd.Load(even), TSimd.Load(odd));
        var (x2, x3) = (TSimd.Load(even + _tiles.Pitch), TSimd.Load(odd + _tiles.Pitch));
        return (TSimd.Subtract(x0, x2), TSimd.Add(x1, x2), TSimd.Subtract(x2, x1), TSimd.Subtract(x1, x3));
    }

    /// <summary>A row of B' x times B.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Rows(float* to, long step, TVec x0, TVec x1, TVec x2, TVec x3)
    {
        TSimd.Store(to, TSimd.Subtract(x0, x2));
        TSimd.Store(to + step, TSimd.Add(x1, x2));
        TSimd.Store(to + 2 * step, TSimd.Subtract(x2, x1));
        TSimd.Store(to + 3 * step, TSimd.Subtract(x1, x3));
    }

    /// <summary>Sixteen products: [output channels, input channels] times [input channels, tiles].</summary>
    private void Multiply(float* inputs, float* products, int count)
    {
        var nothing = default(Plain);
        var tile = new TileArguments<float> { BStep = count, Ldc = count, K = _inChannels, Lanes = TSimd.Width, Epilogue = &nothing };
        for (var component = 0; component < Components; component++)
        {
            for (var n = 0; n < count; n += 2 * TSimd.Width)
            {
                var registers = Math.Min(2, (count - n) / TSimd.Width);
                tile.B = inputs + component * Step(_inChannels, count) + n;
                for (var t = 0; t < RowTiles; t++)
                {
                    var (start, end) = RowTile(t);
                    tile.A = Weights(component, start);
                    tile.AStep = end - start;
                    tile.C = products + component * Step(_outChannels, count) + (long)start * count + n;
                    MicroKernelTable<float, TVec, TSimd, Plain>.Get(end - start, registers, false, false)(&tile);
                }
            }
        }
    }

    /// <summary>A' m A of one channel's tiles, by parity of the output's row and column.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void TransformOutput(float* products, float* outputs, int count, float bias)
    {
        var step = Step(_outChannels, count);
        var plus = TSimd.Broadcast(&bias);
        for (var n = 0; n < count; n += TSimd.Width)
        {
            var m = products + n;
            var (a0, a1) = Halves(m, step);
            var (b0, b1) = Halves(m + step, step);
            var (c0, c1) = Halves(m + 2 * step, step);
            var (d0, d1) = Halves(m + 3 * step, step);
            TSimd.Store(outputs + n, TSimd.Add(TSimd.Add(TSimd.Add(a0, b0), c0), plus));
            TSimd.Store(outputs + count + n, TSimd.Add(TSimd.Subtract(TSimd.Subtract(b0, c0), d0), plus));
            TSimd.Store(outputs + 2 * count + n, TSimd.Add(TSimd.Add(TSimd.Add(a1, b1), c1), plus));
            TSimd.Store(outputs + 3 * count + n, TSimd.Add(TSimd.Subtract(TSimd.Subtract(b1, c1), d1), plus));
        }
    }

    /// <summary>A column of A' m.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (TVec Upper, TVec Lower) Halves(float* m, long step)
    {
        var (m0, m1, m2, m3) = (TSimd.Load(m), TSimd.Load(m + 4 * step), TSimd.Load(m + 8 * step), TSimd.Load(m + 12 * step));
        return (TSimd.Add(TSimd.Add(m0, m1), m2), TSimd.Subtract(TSimd.Subtract(m1, m2), m3));
    }

    /// <summary>Puts left and right outputs of a chunk's tiles side by side in their rows.</summary>
    private void Store(float* outputs, int start, int count, float* plane)
    {
        var (height, width) = (_task.Rows.Output, _task.Columns.Output);
        var last = Math.Min(start + count, _tiles.Count);
        for (var n = start; n < last;)
        {
            var (row, column) = (n / _tiles.Pitch, n % _tiles.Pitch);
            var tiles = Math.Min(_tiles.TileColumns - column, last - n);
            for (var half = 0; half < 2 && tiles > 0 && 2 * row + half < height; half++)
            {
                var left = outputs + 2 * half * count + (n - start);
                PairColumns.Gather(left, left + count, plane + (2L * row + half) * width + 2 * column, Math.Min(2 * tiles, width - 2 * column));
            }

            n += Math.Max(0, tiles) + (column + Math.Max(0, tiles) == _tiles.TileColumns ? 1 : 0);
        }
    }
}
