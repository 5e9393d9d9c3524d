namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// What happens to an element of C between the end of its sum and its one store to memory. It is a struct used as a
/// type parameter, so it is compiled into the kernel and works on registers; the fields (pointers to a bias, to a
/// mask, ...) travel with each call. A new activation or a second operand is a new struct, nothing else.
/// </summary>
public interface IGemmEpilogue<T>
    where T : unmanaged
{
    /// <summary>
    /// Maps elements [column, column + width) of one row of C; <paramref name="value"/> holds their finished sums.
    /// </summary>
    /// <param name="value">The sums, including the old C when the plan accumulates.</param>
    /// <param name="batch">Which product of the batch.</param>
    /// <param name="row">Row in C.</param>
    /// <param name="column">Column in C of the first lane.</param>
    /// <param name="partial">Whether only the lanes of <paramref name="mask"/> lie inside C; a constant for the
    /// JIT.</param>
    /// <param name="mask">Undefined unless <paramref name="partial"/>.</param>
    TVec Apply<TSimd, TVec>(TVec value, nint batch, nint row, nint column, bool partial, TVec mask)
        where TSimd : struct, ISimd<TVec, T>
        where TVec : struct;
}
