using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// The compiled tiles of one instruction set, found by their numbers. Entries are made when they are first asked for, so a
/// program compiles the few that its shapes need. A kernel has a table of its own: looking into a static one costs a check each time.
/// </summary>
internal sealed unsafe class ConvTileTable<T, TVec, TSimd>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    private readonly nint[] _entries = new nint[(TileDispatch<Entry>.MostRows + 1) * 12];

    /// <summary>The most rows of a tile of some registers per row: all accumulators stay in registers.</summary>
    public static int Rows(int columns) => columns < 3 ? TSimd.TileRows : TSimd.TileRows < 8 ? 4 : 8;

    /// <summary>The tile of <paramref name="rows"/> by <paramref name="columns"/> registers, at most <see cref="Rows(int)"/>.</summary>
    public delegate*<ConvTileArguments<T>*, void> Get(int rows, int columns, bool partial, bool strided)
    {
        ref var entry = ref _entries[(rows * 12) + ((columns - 1) * 4) + (partial ? 2 : 0) + (strided ? 1 : 0)];
        if (entry == 0) entry = TileDispatch<Entry>.Find(rows, columns, partial, strided);
        return (delegate*<ConvTileArguments<T>*, void>)entry;
    }

    private readonly struct Entry : ITileEntry
    {
        public static nint Of<TTile>() where TTile : struct, ITile
        {
            delegate*<ConvTileArguments<T>*, void> kernel = &ConvTile<T, TVec, TSimd, TTile>.Run;
            return (nint)kernel;
        }
    }
}
