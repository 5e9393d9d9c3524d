namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// The vector operations of one instruction set and one element type. A kernel is written once over this interface;
/// because implementations are structs used as type parameters, the JIT compiles it to that instruction set with every
/// call inlined. A mask is a vector whose lanes have all bits set or none.
/// </summary>
/// <typeparam name="TVec">The register, for example <c>Vector512&lt;float&gt;</c>.</typeparam>
/// <typeparam name="T">float or double.</typeparam>
public unsafe interface ISimd<TVec, T>
    where TVec : struct
    where T : unmanaged
{
    /// <summary>Elements in a register.</summary>
    static abstract int Width { get; }

    /// <summary>
    /// Rows of the largest tile of C: with two registers per row, all accumulators stay in registers.
    /// </summary>
    static abstract int TileRows { get; }

    /// <summary>Rows that one call of <see cref="Transpose"/> takes.</summary>
    static abstract int TransposeRows { get; }

    static abstract TVec Zero { get; }

    static abstract TVec Load(T* address);

    static abstract TVec Broadcast(T* address);

    /// <summary>Asks for a cache line that is needed soon; any address is allowed.</summary>
    static abstract void Prefetch(T* address);

    static abstract void Store(T* address, TVec value);

    /// <summary>Selects the first <paramref name="lanes"/> lanes, 1 to <see cref="Width"/>.</summary>
    static abstract TVec Mask(int lanes);

    /// <summary>Loads the lanes of the mask, zero elsewhere; memory outside the mask is not touched.</summary>
    static abstract TVec LoadMasked(T* address, TVec mask);

    /// <summary>Stores the lanes of the mask; memory outside the mask is not touched.</summary>
    static abstract void StoreMasked(T* address, TVec mask, TVec value);

    static abstract TVec Add(TVec left, TVec right);

    static abstract TVec Subtract(TVec left, TVec right);

    static abstract TVec Multiply(TVec left, TVec right);

    static abstract TVec Divide(TVec left, TVec right);

    static abstract TVec Sqrt(TVec value);

    /// <summary>0 where <paramref name="x"/> is at or below 0, else (where x is NaN, too) <paramref name="value"/>.</summary>
    static abstract TVec WherePositive(TVec x, TVec value);

    /// <summary>The larger of the two; <paramref name="right"/> where one of them is NaN.</summary>
    static abstract TVec Max(TVec left, TVec right);

    /// <summary>left * right + addend, rounded once where the hardware has FMA.</summary>
    static abstract TVec MultiplyAdd(TVec left, TVec right, TVec addend);

    /// <summary>The sum of all lanes, in a fixed order.</summary>
    static abstract T Sum(TVec value);

    /// <summary>
    /// Reads <see cref="Width"/> consecutive elements at each of <see cref="TransposeRows"/> row addresses and writes
    /// them as columns: element j of row i goes to <c>destination[j * step + i]</c>.
    /// </summary>
    static abstract void Transpose(T** rows, T* destination, nint step);
}
