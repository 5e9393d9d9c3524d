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
    private static readonly nint[] Entries = new nint[(TileDispatch<Entry>.MostRows + 1) * 8];

    public static delegate*<TileArguments<T>*, void> Get(int rows, int columns, bool partial, bool stridedRows)
    {
        var index = (rows * 8) + ((columns - 1) * 4) + (partial ? 2 : 0) + (stridedRows ? 1 : 0);
        var entry = Entries[index];
        if (entry == 0) Entries[index] = entry = TileDispatch<Entry>.Find(rows, columns, partial, stridedRows);
        return (delegate*<TileArguments<T>*, void>)entry;
    }

    private readonly struct Entry : ITileEntry
    {
        public static nint Of<TTile>() where TTile : struct, ITile
        {
            delegate*<TileArguments<T>*, void> kernel = &MicroKernel<T, TVec, TSimd, TTile, TEpilogue>.Run;
            return (nint)kernel;
        }
    }
}
