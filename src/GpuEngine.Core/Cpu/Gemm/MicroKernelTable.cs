namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// The compiled micro-kernels of one instruction set and epilogue, found by the tile's numbers. Entries are made when
/// they are first asked for, so a program compiles the few kernels that its shapes need.
/// </summary>
internal static unsafe class MicroKernelTable<T, TVec, TSimd, TEpilogue>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TEpilogue : unmanaged, IGemmEpilogue<T>
{
    private static readonly nint[] Entries = new nint[15 * 8];

    public static delegate*<TileArguments<T>*, void> Get(int rows, int columns, bool partial, bool stridedRows)
    {
        var index = (rows * 8) + ((columns - 1) * 4) + (partial ? 2 : 0) + (stridedRows ? 1 : 0);
        var entry = Entries[index];
        if (entry == 0) Entries[index] = entry = Rows(rows, columns, partial, stridedRows);
        return (delegate*<TileArguments<T>*, void>)entry;
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
        14 => Columns<N14>(columns, partial, strided),
        _ => throw new ArgumentOutOfRangeException(nameof(rows)),
    };

    private static nint Columns<TRows>(int columns, bool partial, bool strided)
        where TRows : struct, IConstant =>
        columns == 1 ? Partial<TRows, N1>(partial, strided) : Partial<TRows, N2>(partial, strided);

    private static nint Partial<TRows, TColumns>(bool partial, bool strided)
        where TRows : struct, IConstant
        where TColumns : struct, IConstant =>
        partial ? Strided<TRows, TColumns, N1>(strided) : Strided<TRows, TColumns, N0>(strided);

    private static nint Strided<TRows, TColumns, TPartial>(bool strided)
        where TRows : struct, IConstant
        where TColumns : struct, IConstant
        where TPartial : struct, IConstant =>
        strided ? Kernel<Tile<TRows, TColumns, TPartial, N1>>() : Kernel<Tile<TRows, TColumns, TPartial, N0>>();

    private static nint Kernel<TTile>()
        where TTile : struct, ITile
    {
        delegate*<TileArguments<T>*, void> kernel = &MicroKernel<T, TVec, TSimd, TTile, TEpilogue>.Run;
        return (nint)kernel;
    }
}
