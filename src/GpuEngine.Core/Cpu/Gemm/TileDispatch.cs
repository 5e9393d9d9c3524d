namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>The address of a kernel that is compiled for one tile.</summary>
internal interface ITileEntry
{
    static abstract nint Of<TTile>() where TTile : struct, ITile;
}

/// <summary>From a tile's numbers to the kernel that is compiled for them.</summary>
internal static class TileDispatch<TEntry>
    where TEntry : struct, ITileEntry
{
    public const int MostRows = 14;

    /// <param name="rows">1 to <see cref="MostRows"/>.</param>
    /// <param name="columns">Registers of a row, 1 to 3.</param>
    /// <param name="partial">Whether the last register has fewer elements.</param>
    /// <param name="strided">Whether rows lie apart.</param>
    public static nint Find(int rows, int columns, bool partial, bool strided) => rows switch
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

    private static nint Columns<TRows>(int columns, bool partial, bool strided) where TRows : struct, IConstant => columns switch
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
        strided ? TEntry.Of<Tile<TRows, TColumns, TPartial, N1>>() : TEntry.Of<Tile<TRows, TColumns, TPartial, N0>>();
}
