namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// C = epilogue(A B^T) by inner products, for few rows or few columns; both operands are contiguous in k. The order of
/// a sum depends on k alone.
/// </summary>
internal static unsafe class DotProduct<T, TVec, TSimd, TEpilogue>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TEpilogue : unmanaged, IGemmEpilogue<T>
{
    private const int Side = 4;

    /// <summary>Computes the rows and columns of C that belong to one worker.</summary>
    public static void Multiply(
        GemmProblem problem, int batch, StridedMatrix<T> a, StridedMatrix<T> b, T* c, TEpilogue epilogue,
        (int Start, int End) rows, (int Start, int End) columns)
    {
        // Two registers' worth of columns would be no better: a strip only gathers the sums of a row for the epilogue.
        var sums = stackalloc T[Side * TSimd.Width];
        c += batch * problem.StrideC;
        for (var column = columns.Start; column < columns.End; column += TSimd.Width)
        {
            var width = Math.Min(TSimd.Width, columns.End - column);
            for (var row = rows.Start; row < rows.End; row += Side)
            {
                var height = Math.Min(Side, rows.End - row);
                for (var j = 0; j < width; j += Side)
                {
                    Tile(
                        height,
                        Math.Min(Side, width - j),
                        a.At(batch, 0, row),
                        a.XStride,
                        b.At(batch, 0, column + j),
                        b.XStride,
                        problem.K,
                        sums + j);
                }
                for (var i = 0; i < height; i++)
                {
                    Finish(
                        sums + (i * TSimd.Width),
                        width,
                        c + ((row + i) * problem.Ldc) + column,
                        problem.Accumulate,
                        epilogue,
                        batch,
                        row + i,
                        column);
                }
            }
        }
    }

    private static void Finish(
        T* sums, int width, T* c, bool accumulate, TEpilogue epilogue, int batch, int row, int column)
    {
        var value = TSimd.Load(sums);
        if (width == TSimd.Width)
        {
            if (accumulate) value = TSimd.Add(value, TSimd.Load(c));
            TSimd.Store(c, epilogue.Apply<TSimd, TVec>(value, batch, row, column, false, value));
            return;
        }
        var mask = TSimd.Mask(width);
        if (accumulate) value = TSimd.Add(value, TSimd.LoadMasked(c, mask));
        TSimd.StoreMasked(c, mask, epilogue.Apply<TSimd, TVec>(value, batch, row, column, true, mask));
    }

    private static void Tile(int rows, int columns, T* a, nint lda, T* b, nint ldb, int depth, T* sums)
    {
        switch (rows)
        {
            case 1:
                Tile<N1>(columns, a, lda, b, ldb, depth, sums);
                break;
            case 2:
                Tile<N2>(columns, a, lda, b, ldb, depth, sums);
                break;
            case 3:
                Tile<N3>(columns, a, lda, b, ldb, depth, sums);
                break;
            default:
                Tile<N4>(columns, a, lda, b, ldb, depth, sums);
                break;
        }
    }

    private static void Tile<TRows>(int columns, T* a, nint lda, T* b, nint ldb, int depth, T* sums)
        where TRows : struct, IConstant
    {
        switch (columns)
        {
            case 1:
                DotTile<T, TVec, TSimd, TRows, N1>.Run(a, lda, b, ldb, depth, sums, TSimd.Width);
                break;
            case 2:
                DotTile<T, TVec, TSimd, TRows, N2>.Run(a, lda, b, ldb, depth, sums, TSimd.Width);
                break;
            case 3:
                DotTile<T, TVec, TSimd, TRows, N3>.Run(a, lda, b, ldb, depth, sums, TSimd.Width);
                break;
            default:
                DotTile<T, TVec, TSimd, TRows, N4>.Run(a, lda, b, ldb, depth, sums, TSimd.Width);
                break;
        }
    }
}
