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
    private const int MostRows = 14;

    private readonly nint[] _entries = new nint[(MostRows + 1) * 12];

    /// <summary>The most rows of a tile of some registers per row: all accumulators stay in registers.</summary>
    public static int Rows(int columns) => columns < 3 ? TSimd.TileRows : TSimd.TileRows < 8 ? 4 : 8;

    /// <summary>The tile of <paramref name="rows"/> by <paramref name="columns"/> registers, at most <see cref="Rows(int)"/>.</summary>
    public delegate*<ConvTileArguments<T>*, void> Get(int rows, int columns, bool partial, bool strided)
    {
        ref var entry = ref _entries[(rows * 12) + ((columns - 1) * 4) + (partial ? 2 : 0) + (strided ? 1 : 0)];
        if (entry == 0) entry = Rows(rows, columns, partial, strided);
        return (delegate*<ConvTileArguments<T>*, void>)entry;
    }

    private static nint Rows(int rows, int columns, bool partial, bool strided) => rows switch
    {
        1 => Columns<N1>(columns, partial, strided),
        2 => Columns<N2>(columns, partial, strided),
        3 => Columns<N3>(columns, partial, strided),
        4 => Columns<N4>(columns, partial, strided),
        5 => Columns<N5>(columns, partial, strided),
        6 => Columns<N6>(columns, partial, strided),
        7 => Columns<N7>(columns, partial, strided),
        8 => Columns<N8>(columns, partial, strided),
        9 => Columns<N9>(columns, partial, strided),
        10 => Columns<N10>(columns, partial, strided),
        11 => Columns<N11>(columns, partial, strided),
        12 => Columns<N12>(columns, partial, strided),
        13 => Columns<N13>(columns, partial, strided),
        MostRows => Columns<N14>(columns, partial, strided),
        _ => throw new ArgumentOutOfRangeException(nameof(rows)),
    };

    private static nint Columns<TRows>(int columns, bool partial, bool strided) where TRows : struct, IConstant =>
        columns switch
        {
            1 => Partial<TRows, N1>(partial, strided),
            2 => Partial<TRows, N2>(partial, strided),
            _ => Partial<TRows, N3>(partial, strided),
        };

    private static nint Partial<TRows, TColumns>(bool partial, bool strided)
        where TRows : struct, IConstant
        where TColumns : struct, IConstant =>
        partial ? Strided<TRows, TColumns, N1>(strided) : Strided<TRows, TColumns, N0>(strided);

    private static nint Strided<TRows, TColumns, TPartial>(bool strided)
        where TRows : struct, IConstant
        where TColumns : struct, IConstant
        where TPartial : struct, IConstant =>
        strided ? Tile<Tile<TRows, TColumns, TPartial, N1>>() : Tile<Tile<TRows, TColumns, TPartial, N0>>();

    private static nint Tile<TTile>() where TTile : struct, ITile
    {
        delegate*<ConvTileArguments<T>*, void> run = &ConvTile<T, TVec, TSimd, TTile>.Run;
        return (nint)run;
    }
}
