using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// The innermost loop: one tile of C, up to 14 rows by 2 registers, held in registers over a whole block of k. It is
/// one source for every height, width and instruction set: the tile's numbers are constants to the JIT, which drops
/// the rows that a tile does not have. Sums run over k in order with one accumulator per element, so a result does not
/// depend on the tile, on the partition or on the number of threads.
/// </summary>
/// <remarks>
/// The repetition is deliberate: the JIT keeps locals in registers, but neither arrays nor inline arrays. Checked in
/// the JIT's output for 14 x 2 on AVX-512 and 6 x 2 on AVX2: no accumulator is spilled.
/// </remarks>
internal static unsafe class MicroKernel<T, TVec, TSimd, TTile, TEpilogue>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TTile : struct, ITile
    where TEpilogue : unmanaged, IGemmEpilogue<T>
{
    // A shallow tile is over before C could arrive.
    private const int DeepEnoughToPrefetch = 64;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    [SkipLocalsInit]
    public static void Run(TileArguments<T>* tile)
    {
        TVec x0 = TSimd.Zero, y0 = TSimd.Zero;
        TVec x1 = TSimd.Zero, y1 = TSimd.Zero;
        TVec x2 = TSimd.Zero, y2 = TSimd.Zero;
        TVec x3 = TSimd.Zero, y3 = TSimd.Zero;
        TVec x4 = TSimd.Zero, y4 = TSimd.Zero;
        TVec x5 = TSimd.Zero, y5 = TSimd.Zero;
        TVec x6 = TSimd.Zero, y6 = TSimd.Zero;
        TVec x7 = TSimd.Zero, y7 = TSimd.Zero;
        TVec x8 = TSimd.Zero, y8 = TSimd.Zero;
        TVec x9 = TSimd.Zero, y9 = TSimd.Zero;
        TVec x10 = TSimd.Zero, y10 = TSimd.Zero;
        TVec x11 = TSimd.Zero, y11 = TSimd.Zero;
        TVec x12 = TSimd.Zero, y12 = TSimd.Zero;
        TVec x13 = TSimd.Zero, y13 = TSimd.Zero;
        var mask = TTile.Partial ? TSimd.Mask(tile->Lanes) : TSimd.Zero;
        var b = tile->B;
        var a = tile->A;
        var aStep = tile->AStep;
        var bStep = tile->BStep;
        // Strided rows are addressed from every fourth one: five registers instead of fourteen.
        var row1 = TTile.StridedRows ? tile->ARow : 1;
        var row2 = 2 * row1;
        var row3 = 3 * row1;
        var a4 = a + (4 * row1);
        var a8 = a + (8 * row1);
        var a12 = a + (12 * row1);

        if (tile->K >= DeepEnoughToPrefetch) PrefetchC(tile);

        for (var k = tile->K; k != 0; k--)
        {
            var b0 = TTile.Partial && TTile.Columns == 1 ? TSimd.LoadMasked(b, mask) : TSimd.Load(b);
            var b1 = TSimd.Zero;
            var second = b + TSimd.Width;
            if (TTile.Columns > 1) b1 = TTile.Partial ? TSimd.LoadMasked(second, mask) : TSimd.Load(second);
            if (TTile.Rows > 0)
            {
                var ai0 = TSimd.Broadcast(TTile.StridedRows ? a : a);
                x0 = TSimd.MultiplyAdd(ai0, b0, x0);
                if (TTile.Columns > 1) y0 = TSimd.MultiplyAdd(ai0, b1, y0);
            }
            if (TTile.Rows > 1)
            {
                var ai1 = TSimd.Broadcast(TTile.StridedRows ? a + row1 : a + 1);
                x1 = TSimd.MultiplyAdd(ai1, b0, x1);
                if (TTile.Columns > 1) y1 = TSimd.MultiplyAdd(ai1, b1, y1);
            }
            if (TTile.Rows > 2)
            {
                var ai2 = TSimd.Broadcast(TTile.StridedRows ? a + row2 : a + 2);
                x2 = TSimd.MultiplyAdd(ai2, b0, x2);
                if (TTile.Columns > 1) y2 = TSimd.MultiplyAdd(ai2, b1, y2);
            }
            if (TTile.Rows > 3)
            {
                var ai3 = TSimd.Broadcast(TTile.StridedRows ? a + row3 : a + 3);
                x3 = TSimd.MultiplyAdd(ai3, b0, x3);
                if (TTile.Columns > 1) y3 = TSimd.MultiplyAdd(ai3, b1, y3);
            }
            if (TTile.Rows > 4)
            {
                var ai4 = TSimd.Broadcast(TTile.StridedRows ? a4 : a + 4);
                x4 = TSimd.MultiplyAdd(ai4, b0, x4);
                if (TTile.Columns > 1) y4 = TSimd.MultiplyAdd(ai4, b1, y4);
            }
            if (TTile.Rows > 5)
            {
                var ai5 = TSimd.Broadcast(TTile.StridedRows ? a4 + row1 : a + 5);
                x5 = TSimd.MultiplyAdd(ai5, b0, x5);
                if (TTile.Columns > 1) y5 = TSimd.MultiplyAdd(ai5, b1, y5);
            }
            if (TTile.Rows > 6)
            {
                var ai6 = TSimd.Broadcast(TTile.StridedRows ? a4 + row2 : a + 6);
                x6 = TSimd.MultiplyAdd(ai6, b0, x6);
                if (TTile.Columns > 1) y6 = TSimd.MultiplyAdd(ai6, b1, y6);
            }
            if (TTile.Rows > 7)
            {
                var ai7 = TSimd.Broadcast(TTile.StridedRows ? a4 + row3 : a + 7);
                x7 = TSimd.MultiplyAdd(ai7, b0, x7);
                if (TTile.Columns > 1) y7 = TSimd.MultiplyAdd(ai7, b1, y7);
            }
            if (TTile.Rows > 8)
            {
                var ai8 = TSimd.Broadcast(TTile.StridedRows ? a8 : a + 8);
                x8 = TSimd.MultiplyAdd(ai8, b0, x8);
                if (TTile.Columns > 1) y8 = TSimd.MultiplyAdd(ai8, b1, y8);
            }
            if (TTile.Rows > 9)
            {
                var ai9 = TSimd.Broadcast(TTile.StridedRows ? a8 + row1 : a + 9);
                x9 = TSimd.MultiplyAdd(ai9, b0, x9);
                if (TTile.Columns > 1) y9 = TSimd.MultiplyAdd(ai9, b1, y9);
            }
            if (TTile.Rows > 10)
            {
                var ai10 = TSimd.Broadcast(TTile.StridedRows ? a8 + row2 : a + 10);
                x10 = TSimd.MultiplyAdd(ai10, b0, x10);
                if (TTile.Columns > 1) y10 = TSimd.MultiplyAdd(ai10, b1, y10);
            }
            if (TTile.Rows > 11)
            {
                var ai11 = TSimd.Broadcast(TTile.StridedRows ? a8 + row3 : a + 11);
                x11 = TSimd.MultiplyAdd(ai11, b0, x11);
                if (TTile.Columns > 1) y11 = TSimd.MultiplyAdd(ai11, b1, y11);
            }
            if (TTile.Rows > 12)
            {
                var ai12 = TSimd.Broadcast(TTile.StridedRows ? a12 : a + 12);
                x12 = TSimd.MultiplyAdd(ai12, b0, x12);
                if (TTile.Columns > 1) y12 = TSimd.MultiplyAdd(ai12, b1, y12);
            }
            if (TTile.Rows > 13)
            {
                var ai13 = TSimd.Broadcast(TTile.StridedRows ? a12 + row1 : a + 13);
                x13 = TSimd.MultiplyAdd(ai13, b0, x13);
                if (TTile.Columns > 1) y13 = TSimd.MultiplyAdd(ai13, b1, y13);
            }
            a += aStep;
            if (TTile.StridedRows)
            {
                a4 += aStep;
                a8 += aStep;
                a12 += aStep;
            }
            b += bStep;
        }

        if (tile->AddC)
        {
            if (TTile.Rows > 0) AddOld(tile, 0, ref x0, ref y0, mask);
            if (TTile.Rows > 1) AddOld(tile, 1, ref x1, ref y1, mask);
            if (TTile.Rows > 2) AddOld(tile, 2, ref x2, ref y2, mask);
            if (TTile.Rows > 3) AddOld(tile, 3, ref x3, ref y3, mask);
            if (TTile.Rows > 4) AddOld(tile, 4, ref x4, ref y4, mask);
            if (TTile.Rows > 5) AddOld(tile, 5, ref x5, ref y5, mask);
            if (TTile.Rows > 6) AddOld(tile, 6, ref x6, ref y6, mask);
            if (TTile.Rows > 7) AddOld(tile, 7, ref x7, ref y7, mask);
            if (TTile.Rows > 8) AddOld(tile, 8, ref x8, ref y8, mask);
            if (TTile.Rows > 9) AddOld(tile, 9, ref x9, ref y9, mask);
            if (TTile.Rows > 10) AddOld(tile, 10, ref x10, ref y10, mask);
            if (TTile.Rows > 11) AddOld(tile, 11, ref x11, ref y11, mask);
            if (TTile.Rows > 12) AddOld(tile, 12, ref x12, ref y12, mask);
            if (TTile.Rows > 13) AddOld(tile, 13, ref x13, ref y13, mask);
        }
        if (TTile.Rows > 0) Finish(tile, 0, x0, y0, mask);
        if (TTile.Rows > 1) Finish(tile, 1, x1, y1, mask);
        if (TTile.Rows > 2) Finish(tile, 2, x2, y2, mask);
        if (TTile.Rows > 3) Finish(tile, 3, x3, y3, mask);
        if (TTile.Rows > 4) Finish(tile, 4, x4, y4, mask);
        if (TTile.Rows > 5) Finish(tile, 5, x5, y5, mask);
        if (TTile.Rows > 6) Finish(tile, 6, x6, y6, mask);
        if (TTile.Rows > 7) Finish(tile, 7, x7, y7, mask);
        if (TTile.Rows > 8) Finish(tile, 8, x8, y8, mask);
        if (TTile.Rows > 9) Finish(tile, 9, x9, y9, mask);
        if (TTile.Rows > 10) Finish(tile, 10, x10, y10, mask);
        if (TTile.Rows > 11) Finish(tile, 11, x11, y11, mask);
        if (TTile.Rows > 12) Finish(tile, 12, x12, y12, mask);
        if (TTile.Rows > 13) Finish(tile, 13, x13, y13, mask);
    }

    /// <summary>C is needed at the end; asked for at the start, it arrives while the loop runs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchC(TileArguments<T>* tile)
    {
        var c = tile->C;
        for (var i = 0; i < TTile.Rows; i++)
        {
            TSimd.Prefetch(c);
            TSimd.Prefetch(c + ((TTile.Columns - 1) * TSimd.Width));
            c += tile->Ldc;
        }
    }

    /// <summary>Adds one row of what C holds.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddOld(TileArguments<T>* tile, int row, ref TVec x, ref TVec y, TVec mask)
    {
        var c = tile->C + (row * tile->Ldc);
        x = TSimd.Add(x, TTile.Partial && TTile.Columns == 1 ? TSimd.LoadMasked(c, mask) : TSimd.Load(c));
        if (TTile.Columns == 1) return;
        c += TSimd.Width;
        y = TSimd.Add(y, TTile.Partial ? TSimd.LoadMasked(c, mask) : TSimd.Load(c));
    }

    /// <summary>Applies the epilogue and stores one row of the tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Finish(TileArguments<T>* tile, int row, TVec x, TVec y, TVec mask)
    {
        var c = tile->C + (row * tile->Ldc);
        var epilogue = (TEpilogue*)tile->Epilogue;
        var partialX = TTile.Partial && TTile.Columns == 1;
        var second = c + TSimd.Width;
        x = epilogue->Apply<TSimd, TVec>(x, tile->Batch, tile->Row + row, tile->Column, partialX, mask);
        if (partialX) TSimd.StoreMasked(c, mask, x);
        else TSimd.Store(c, x);
        if (TTile.Columns == 1) return;
        y = epilogue->Apply<TSimd, TVec>(
            y, tile->Batch, tile->Row + row, tile->Column + TSimd.Width, TTile.Partial, mask);
        if (TTile.Partial) TSimd.StoreMasked(second, mask, y);
        else TSimd.Store(second, y);
    }
}
