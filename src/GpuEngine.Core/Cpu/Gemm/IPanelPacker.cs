namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// Copies a piece of an operand into the layout that the kernels read. The default copies a strided matrix
/// (<see cref="StridedMatrix{T}"/>); a convolution can gather its panels straight from the image instead.
/// Called by several workers at once on different panels.
/// </summary>
public unsafe interface IPanelPacker<T>
    where T : unmanaged
{
    /// <summary>
    /// Writes elements x of [<paramref name="x0"/>, x0 + <paramref name="count"/>) at depths k of
    /// [<paramref name="k0"/>, k0 + <paramref name="depth"/>) to <c>panel[(k - k0) * width + (x - x0)]</c>, where x is
    /// the row of op(A) or the column of op(B). Elements from count to width are padding: anything, best finite. Up to
    /// <see cref="StridedMatrix{T}.Overrun"/> elements behind a panel of A may be overwritten (panels of one worker
    /// are packed in ascending order); nothing behind a panel of B may be.
    /// </summary>
    void Pack<TSimd, TVec>(T* panel, int width, nint batch, nint k0, int depth, nint x0, int count)
        where TSimd : struct, ISimd<TVec, T>
        where TVec : struct;
}
