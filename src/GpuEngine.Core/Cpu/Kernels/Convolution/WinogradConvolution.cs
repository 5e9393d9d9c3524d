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

    private long WeightElements => RoundUp((long)Components * _outChannels * _inChannels);

    private long ImageElements => RoundUp(4L * _inChannels * _tiles.PlaneElements);

    private long InputElements => RoundUp((long)Components * _inChannels * _tiles.MostOfChunk);

    private long ProductElements => RoundUp((long)Components * _outChannels * _tiles.MostOfChunk);

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

    private static long RoundUp(long elements) => (elements + 63) / 64 * 64;

    /// <summary>Output channels are taken in equal tiles of rows.</summary>
    private int RowTiles => (_outChannels + TSimd.TileRows - 1) / TSimd.TileRows;

    private (int Start, int End) RowTile(int tile) => (_outChannels * tile / RowTiles, _outChannels * (tile + 1) / RowTiles);

    /// <summary>G w G' of a tile of output channels, as [component][input channel][output channel of the tile]; in f64, rounded once.</summary>
    private void Pack(int tile)
    {
        var (start, end) = RowTile(tile);
        var rows = end - start;
        var weights = In<float>(1);
        var lines = stackalloc double[12];
        for (var o = start; o < end; o++)
        {
            for (var c = 0; c < _inChannels; c++)
            {
                var w = weights + o * _task.OutStride + c * _task.InStride;
                for (var s = 0; s < 3; s++)
                {
                    var column = _tiles.ColumnTaps[s];
                    var (a, b, d) = ((double)w[_tiles.RowTaps[0] * 3 + column], (double)w[_tiles.RowTaps[1] * 3 + column], (double)w[_tiles.RowTaps[2] * 3 + column]);
                    (lines[s], lines[3 + s], lines[6 + s], lines[9 + s]) = (a, (a + b + d) / 2, (a - b + d) / 2, d);
                }

                for (var i = 0; i < 4; i++)
                {
                    var (a, b, d) = (lines[3 * i], lines[3 * i + 1], lines[3 * i + 2]);
                    var u = Weights(4 * i, start) + (long)c * rows + (o - start);
                    var step = (long)_outChannels * _inChannels;
                    (u[0], u[step], u[2 * step], u[3 * step]) = ((float)a, (float)((a + b + d) / 2), (float)((a - b + d) / 2), (float)d);
                }
            }
        }
    }

    private float* Weights(int component, int firstChannel) => (float*)Workspace + ((long)component * _outChannels + firstChannel) * _inChannels;

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
        var step = (long)_inChannels * count;
        for (var n = 0; n < count; n += TSimd.Width)
        {
            for (var j = 0; j < 4; j++)
            {
                // Rows first: column j of B' x, kept where its place is free.
                var column = planes + n + (j & 1) * (long)_tiles.PlaneElements + j / 2;
                var odd = column + 2L * _tiles.PlaneElements;
                var (x0, x1) = (TSimd.Load(column), TSimd.Load(odd));
                var (x2, x3) = (TSimd.Load(column + _tiles.Pitch), TSimd.Load(odd + _tiles.Pitch));
                var to = inputs + n + j * step;
                TSimd.Store(to, TSimd.Subtract(x0, x2));
                TSimd.Store(to + 4 * step, TSimd.Add(x1, x2));
                TSimd.Store(to + 8 * step, TSimd.Subtract(x2, x1));
                TSimd.Store(to + 12 * step, TSimd.Subtract(x1, x3));
            }

            for (var i = 0; i < 4; i++)
            {
                var at = inputs + n + 4 * i * step;
                var (x0, x1, x2, x3) = (TSimd.Load(at), TSimd.Load(at + step), TSimd.Load(at + 2 * step), TSimd.Load(at + 3 * step));
                TSimd.Store(at, TSimd.Subtract(x0, x2));
                TSimd.Store(at + step, TSimd.Add(x1, x2));
                TSimd.Store(at + 2 * step, TSimd.Subtract(x2, x1));
                TSimd.Store(at + 3 * step, TSimd.Subtract(x1, x3));
            }
        }
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
                tile.B = inputs + (long)component * _inChannels * count + n;
                for (var t = 0; t < RowTiles; t++)
                {
                    var (start, end) = RowTile(t);
                    tile.A = Weights(component, start);
                    tile.AStep = end - start;
                    tile.C = products + ((long)component * _outChannels + start) * count + n;
                    MicroKernelTable<float, TVec, TSimd, Plain>.Get(end - start, registers, false, false)(&tile);
                }
            }
        }
    }

    /// <summary>A' m A of one channel's tiles, by parity of the output's row and column.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void TransformOutput(float* products, float* outputs, int count, float bias)
    {
        var step = (long)_outChannels * count;
        var plus = TSimd.Broadcast(&bias);
        for (var n = 0; n < count; n += TSimd.Width)
        {
            TVec upper0 = TSimd.Zero, upper1 = TSimd.Zero, lower0 = TSimd.Zero, lower1 = TSimd.Zero;
            for (var j = 0; j < 4; j++)
            {
                var m = products + n + j * step;
                var (m0, m1, m2, m3) = (TSimd.Load(m), TSimd.Load(m + 4 * step), TSimd.Load(m + 8 * step), TSimd.Load(m + 12 * step));
                var upper = TSimd.Add(TSimd.Add(m0, m1), m2);
                var lower = TSimd.Subtract(TSimd.Subtract(m1, m2), m3);
                if (j < 3) (upper0, lower0) = (TSimd.Add(upper0, upper), TSimd.Add(lower0, lower));
                if (j == 1) (upper1, lower1) = (upper, lower);
                if (j > 1) (upper1, lower1) = (TSimd.Subtract(upper1, upper), TSimd.Subtract(lower1, lower));
            }

            TSimd.Store(outputs + n, TSimd.Add(upper0, plus));
            TSimd.Store(outputs + count + n, TSimd.Add(upper1, plus));
            TSimd.Store(outputs + 2 * count + n, TSimd.Add(lower0, plus));
            TSimd.Store(outputs + 3 * count + n, TSimd.Add(lower1, plus));
        }
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
