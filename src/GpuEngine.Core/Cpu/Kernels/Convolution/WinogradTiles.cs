namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// How Winograd's F(2x2, 3x3) (Lavin and Gray 2016, section 4.1) sees an image: tiles of 2 x 2 outputs, each read from 4 x 4 inputs. Inputs
/// lie in four planes by the parity of their row and column, with a place more per row than there are tiles: input (i, j) of tile number
/// n = row * Pitch + column is then element n + i / 2 * Pitch + j / 2 of plane (i % 2, j % 2), and tiles of neighbouring numbers lie side by
/// side. The number behind each row of tiles stands for none.
/// </summary>
internal sealed class WinogradTiles
{
    // Transformed inputs and products of a chunk should stay in the second-level cache.
    private const int ChunkBytes = 640 * 1024;

    public WinogradTiles(ConvTask task, int lanes)
    {
        (TileRows, TileColumns) = ((task.Rows.Output + 1) / 2, (task.Columns.Output + 1) / 2);
        (RowTaps, FirstRow) = Ordered(task.Rows);
        (ColumnTaps, FirstColumn) = Ordered(task.Columns);
        var registers = (Count + lanes - 1) / lanes;
        var most = Math.Clamp(ChunkBytes / (16 * (task.InChannels + task.OutChannels) * sizeof(float) * lanes), 2, 16);
        Chunks = (registers + most - 1) / most;
        _registers = registers;
        _lanes = lanes;
        // Whole registers are read, also behind the last tile.
        PlaneElements = (TileRows + 1) * Pitch + 2 * lanes;
    }

    private readonly int _registers;
    private readonly int _lanes;

    public int TileRows { get; }

    public int TileColumns { get; }

    public int Pitch => TileColumns + 1;

    /// <summary>Numbers of tiles, those that stand for none included.</summary>
    public int Count => TileRows * Pitch - 1;

    /// <summary>Taps in the order of the input coordinates that they meet.</summary>
    public int[] RowTaps { get; }

    public int[] ColumnTaps { get; }

    /// <summary>Input coordinate of input (0, 0) of tile 0.</summary>
    public int FirstRow { get; }

    public int FirstColumn { get; }

    public int PlaneElements { get; }

    /// <summary>Parts of an image that are computed one after the other.</summary>
    public int Chunks { get; }

    public int MostOfChunk => (_registers + Chunks - 1) / Chunks * _lanes;

    /// <summary>The tiles [Start, End) of a chunk, in whole registers.</summary>
    public (int Start, int End) Chunk(int chunk) => (_registers * chunk / Chunks * _lanes, _registers * (chunk + 1) / Chunks * _lanes);

    /// <summary>
    /// Whether the fewer multiplications pay for the transformations: 3 x 3 taps side by side, step 1, enough channels on both sides for
    /// products of 16 matrices, and not too many lanes without a tile.
    /// </summary>
    public static bool Fits(ConvTask task, int lanes)
    {
        if (!IsPossible(task) || task.InChannels < FewestChannels || task.OutChannels < FewestChannels || task.Images == 0) return false;
        var tiles = new WinogradTiles(task, lanes);
        return task.OutPlane / 4.0 >= FewestUseful * tiles._registers * lanes;
    }

    /// <summary>Whether the window is 3 x 3, side by side, with step 1.</summary>
    public static bool IsPossible(ConvTask task) =>
        IsWindow(task.Rows) && IsWindow(task.Columns) && task is { KernelWidth: 3, Groups: 1, OutPlane: > 0, InPlane: > 0 };

    /// <summary>Measured on Zen 5 with AVX-512: see bench/FACTS.md.</summary>
    private const int FewestChannels = 48;

    private const double FewestUseful = 0.6;

    private static bool IsWindow(ConvAxis axis) => axis is { InStep: 1, OutStep: 1, Classes: [{ Offsets: [var a, var b, var c] }] } && (b - a, c - b) is (1, 1) or (-1, -1);

    private static (int[] Taps, int First) Ordered(ConvAxis axis)
    {
        var (taps, offsets) = (axis.Classes[0].Taps, axis.Classes[0].Offsets);
        return offsets[0] <= offsets[^1] ? (taps, offsets[0]) : ([.. taps.Reverse()], offsets[^1]);
    }
}
