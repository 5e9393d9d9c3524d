using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// The loops around the micro-kernel, after Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
/// (2008): blocks of columns, blocks of k, blocks of rows, then panels of B against tiles of A. Panels of B are packed
/// by all workers together; each worker packs its own rows of A.
/// </summary>
internal sealed unsafe class GemmDriver<T, TVec, TSimd, TPackA, TPackB, TEpilogue>
    : FusedGemmPlan<T, TPackA, TPackB, TEpilogue>, IParallelWork
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TPackA : unmanaged, IPanelPacker<T>
    where TPackB : unmanaged, IPanelPacker<T>
    where TEpilogue : unmanaged, IGemmEpilogue<T>
{
    // Below this many multiply-adds per worker a fork and join costs more than it saves.
    private const double WorthAWorker = 128 * 1024;
    private const int Alignment = 64;

    private readonly GemmBlocking _blocking;
    private readonly int _workers;
    private readonly bool _byBatch;
    private readonly bool _byDots;
    private readonly long _bytesA;
    private readonly long _bytesB;

    private Phase _phase;
    private WorkerGrid _grid;
    private GemmBlock _block;
    private TPackA _a;
    private TPackB _b;
    private T* _c;
    private TEpilogue _epilogue;
    private byte* _workspace;

    public GemmDriver(GemmProblem problem, int workers, GemmKernel kernel)
        : base(problem, kernel)
    {
        _blocking = GemmBlocking.Choose(problem, TSimd.TileRows, TSimd.Width, sizeof(T), !IsMatrixA, !IsMatrixB);
        _byDots = IsMatrixA && IsMatrixB && SuitsDots(problem);
        if (_byDots)
            _blocking = _blocking with { Depth = problem.K, Columns = problem.N, PackA = false, PackB = false };
        _workers = (int)Math.Clamp(problem.MultiplyAdds / WorthAWorker, 1, workers);
        // Whole products need no meeting of the workers; few large ones are worked on together.
        _byBatch = _workers > 1 && problem.Batch >= _workers;
        if (!_byBatch) _workers = WorkerGrid.Choose(_workers, problem, _blocking).Workers;
        var depth = Math.Min(_blocking.Depth, problem.K);
        var columns = RoundUp(Math.Min(_blocking.Columns, problem.N), TSimd.Width);
        if (_blocking.PackA) _bytesA = Aligned(((long)_blocking.Rows * depth) + StridedMatrix<T>.Overrun);
        if (_blocking.PackB) _bytesB = Aligned((long)columns * depth);
    }

    private enum Phase
    {
        PackB,
        Multiply,
        Walk,
        WalkBatch,
    }

    public override int Workers => _workers;

    public override long WorkspaceBytes => (_workers * _bytesA) + ((_byBatch ? _workers : 1) * _bytesB);

    private static bool IsMatrixA => typeof(TPackA) == typeof(StridedMatrix<T>);

    private static bool IsMatrixB => typeof(TPackB) == typeof(StridedMatrix<T>);

    public override void Execute(
        in TPackA a, in TPackB b, T* c, in TEpilogue epilogue, void* workspace, CpuPool? pool)
    {
        if (Problem.M == 0 || Problem.N == 0 || Problem.Batch == 0) return;
        _a = a;
        _b = b;
        _c = c;
        _epilogue = epilogue;
        _workspace = (byte*)workspace;
        var workers = pool is null ? 1 : Math.Min(pool.Threads, _workers);
        if (workers == 1)
        {
            Walk(new WorkerGrid(1, 1), 0, 0, Problem.Batch);
            return;
        }
        _grid = _byBatch ? new WorkerGrid(1, workers) : WorkerGrid.Choose(workers, Problem, _blocking);
        if (_byBatch) Run(pool!, Phase.WalkBatch);
        else if (!_blocking.PackB) Run(pool!, Phase.Walk);
        else WalkTogether(pool!);
    }

    void IParallelWork.Execute(int worker, int workers)
    {
        if (worker >= _grid.Workers) return;
        switch (_phase)
        {
            case Phase.PackB:
                PackB(_block, worker, _grid.Workers, BufferB(0));
                break;
            case Phase.Multiply:
                Multiply(_block, _grid, worker, packB: false);
                break;
            case Phase.Walk:
                Walk(_grid, worker, 0, Problem.Batch);
                break;
            case Phase.WalkBatch:
                var (start, end) = WorkerGrid.Part(Problem.Batch, worker, _grid.Workers);
                Walk(new WorkerGrid(1, 1), worker, start, end);
                break;
        }
    }

    private void Run(CpuPool pool, Phase phase)
    {
        _phase = phase;
        pool.Run(this);
    }

    /// <summary>All workers on one block of B at a time: pack it, meet, multiply, meet.</summary>
    private void WalkTogether(CpuPool pool)
    {
        for (var batch = 0; batch < Problem.Batch; batch++)
        {
            _block = GemmBlock.First(batch, Problem, _blocking);
            do
            {
                Run(pool, Phase.PackB);
                Run(pool, Phase.Multiply);
            }
            while (_block.Next(Problem, _blocking));
        }
    }

    /// <summary>One worker through its part of some products without meeting anyone.</summary>
    private void Walk(WorkerGrid grid, int worker, int start, int end)
    {
        for (var batch = start; batch < end; batch++)
        {
            var block = GemmBlock.First(batch, Problem, _blocking);
            do
            {
                Multiply(block, grid, worker, _blocking.PackB);
            }
            while (block.Next(Problem, _blocking));
        }
    }

    private int Panels(GemmBlock block) => (block.Columns + _blocking.PanelWidth - 1) / _blocking.PanelWidth;

    private T* BufferB(int worker) => (T*)(_workspace + ((_byBatch ? worker : 0) * _bytesB));

    private T* BufferA(int worker) => (T*)(_workspace + ((_byBatch ? _workers : 1) * _bytesB) + (worker * _bytesA));

    /// <summary>Few rows or few columns, and both operands contiguous in k.</summary>
    private static bool SuitsDots(GemmProblem problem) =>
        (problem.M <= 16 || problem.N <= 4)
        && problem.K >= TSimd.Width
        && !problem.TransA
        && problem.TransB;

    private static int RoundUp(int size, int multiple) => (size + multiple - 1) / multiple * multiple;

    private static long Aligned(long elements) => ((elements * sizeof(T)) + Alignment - 1) / Alignment * Alignment;

    private void PackB(GemmBlock block, int worker, int workers, T* buffer)
    {
        var (start, end) = WorkerGrid.Part(Panels(block), worker, workers);
        for (var panel = start; panel < end; panel++) PackPanel(block, panel, buffer);
    }

    private void PackPanel(GemmBlock block, int panel, T* buffer)
    {
        var column = panel * _blocking.PanelWidth;
        var columns = Math.Min(_blocking.PanelWidth, block.Columns - column);
        _b.Pack<TSimd, TVec>(
            buffer + ((nint)column * block.Depth),
            RoundUp(columns, TSimd.Width),
            block.Batch,
            block.K,
            block.Depth,
            block.Column + column,
            columns);
    }

    /// <summary>A worker's rectangle of C, for one block of B.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Multiply(GemmBlock block, WorkerGrid grid, int worker, bool packB)
    {
        // A worker on whole products of its own has a grid of one.
        var cell = worker % grid.Workers;
        var (rowStart, rowEnd) = WorkerGrid.Part(Problem.M, cell / grid.Across, grid.Down);
        var (panelStart, panelEnd) = WorkerGrid.Part(Panels(block), cell % grid.Across, grid.Across);
        if (rowStart == rowEnd || panelStart == panelEnd) return;
        if (_byDots)
        {
            DotProduct<T, TVec, TSimd, TEpilogue>.Multiply(
                Problem,
                block.Batch,
                Unsafe.As<TPackA, StridedMatrix<T>>(ref _a),
                Unsafe.As<TPackB, StridedMatrix<T>>(ref _b),
                _c,
                _epilogue,
                (rowStart, rowEnd),
                (panelStart * _blocking.PanelWidth, Math.Min(Problem.N, panelEnd * _blocking.PanelWidth)));
            return;
        }
        fixed (TEpilogue* epilogue = &_epilogue)
        {
            var tile = new TileArguments<T>
            {
                Ldc = Problem.Ldc,
                K = block.Depth,
                AddC = Problem.Accumulate || block.K > 0,
                Batch = block.Batch,
                Epilogue = epilogue,
            };
            var blocks = (rowEnd - rowStart + _blocking.Rows - 1) / _blocking.Rows;
            for (var i = 0; i < blocks; i++)
            {
                var (start, end) = WorkerGrid.Part(rowEnd - rowStart, i, blocks);
                MultiplyRows(
                    &tile, block, worker, packB && i == 0, rowStart + start, end - start, panelStart, panelEnd);
            }
        }
    }

    /// <summary>A block of rows, small enough that its packed A stays in the second-level cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void MultiplyRows(
        TileArguments<T>* tile,
        GemmBlock block,
        int worker,
        bool packB,
        int rowStart,
        int rows,
        int panelStart,
        int panelEnd)
    {
        var tiles = new TileSplit(rows, TSimd.TileRows);
        T* a;
        var stridedRows = false;
        if (_blocking.PackA)
        {
            a = BufferA(worker);
        }
        else
        {
            var matrix = Unsafe.As<TPackA, StridedMatrix<T>>(ref _a);
            a = matrix.At(block.Batch, block.K, rowStart);
            tile->AStep = matrix.KStride;
            tile->ARow = matrix.XStride;
            stridedRows = matrix.XStride != 1;
        }
        var last = block.K + block.Depth == Problem.K;
        var c = _c + (block.Batch * Problem.StrideC) + (rowStart * Problem.Ldc) + block.Column;
        for (var panel = panelStart; panel < panelEnd; panel++)
        {
            var column = panel * _blocking.PanelWidth;
            var columns = Math.Min(_blocking.PanelWidth, block.Columns - column);
            var registers = (columns + TSimd.Width - 1) / TSimd.Width;
            tile->Lanes = columns - ((registers - 1) * TSimd.Width);
            var partial = tile->Lanes != TSimd.Width;
            if (packB) PackPanel(block, panel, BufferB(worker));
            if (_blocking.PackB)
            {
                tile->B = BufferB(worker) + ((nint)column * block.Depth);
                tile->BStep = registers * TSimd.Width;
            }
            else
            {
                var matrix = Unsafe.As<TPackB, StridedMatrix<T>>(ref _b);
                tile->B = matrix.At(block.Batch, block.K, block.Column + column);
                tile->BStep = matrix.KStride;
            }
            tile->Column = block.Column + column;
            var tall = KernelFor(last, tiles.Height, registers, partial, stridedRows);
            var low = tiles.HighCount == tiles.Count
                ? tall
                : KernelFor(last, tiles.Height - 1, registers, partial, stridedRows);
            var start = 0;
            for (var i = 0; i < tiles.Count; i++)
            {
                var high = i < tiles.HighCount;
                var height = high ? tiles.Height : tiles.Height - 1;
                if (_blocking.PackA)
                {
                    tile->A = a + ((nint)start * block.Depth);
                    tile->AStep = height;
                    // Packed just before its first use: what the packer prefetches for the next tile arrives during
                    // this one.
                    if (panel == panelStart)
                    {
                        _a.Pack<TSimd, TVec>(
                            tile->A, height, block.Batch, block.K, block.Depth, rowStart + start, height);
                    }
                }
                else
                {
                    tile->A = a + (start * tile->ARow);
                }
                tile->C = c + (start * Problem.Ldc) + column;
                tile->Row = rowStart + start;
                (high ? tall : low)(tile);
                start += height;
            }
        }
    }

    /// <summary>Blocks of k before the last one leave bare sums in C.</summary>
    private static delegate*<TileArguments<T>*, void> KernelFor(
        bool last, int rows, int registers, bool partial, bool stridedRows)
    {
        if (last) return MicroKernelTable<T, TVec, TSimd, TEpilogue>.Get(rows, registers, partial, stridedRows);
        return MicroKernelTable<T, TVec, TSimd, BiasEpilogue<T, NoBias, Identity>>.Get(
            rows, registers, partial, stridedRows);
    }
}
