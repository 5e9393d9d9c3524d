using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// What one call of <see cref="ConvTile{T, TVec, TSimd, TTile}"/> works on: C[i, lanes] = bias + sum over k of a[k, i] b[k, lanes].
/// One of the two operands is an image, read where it lies at the offsets of a table; the other is packed in the order of k.
/// Strides and offsets count elements.
/// </summary>
internal unsafe struct ConvTileArguments<T> where T : unmanaged
{
    /// <summary>The operand that is broadcast: an image (strided rows) or packed weights (rows side by side).</summary>
    public T* A;

    /// <summary>From one row to the next in an image.</summary>
    public nint RowStep;

    /// <summary>The operand that is read as registers: packed (strided rows) or an image.</summary>
    public T* B;

    /// <summary>From one k to the next in a packed B.</summary>
    public nint BStep;

    /// <summary>From one register of B to the next.</summary>
    public nint BRegister;

    /// <summary>The image's offset at each k.</summary>
    public int* Table;

    public nint Depth;

    /// <summary>How often the table is gone through, on images that lie <see cref="ImageStep"/> apart.</summary>
    public int Images;

    public nint ImageStep;

    /// <summary>From the end of the packed operand of one image to the beginning of that of the next.</summary>
    public nint PackedGap;

    public T* C;

    public nint Ldc;

    /// <summary>From one register of C to the next.</summary>
    public nint CRegister;

    /// <summary>Per lane where the rows are strided, else per row; may be null.</summary>
    public T* Bias;

    /// <summary>Whether C holds a sum to continue.</summary>
    public bool AddC;

    /// <summary>Lanes of the first and of the second register inside C; used by partial tiles, which have no third.</summary>
    public int Lanes;

    public int LanesSecond;
}

/// <summary>
/// The innermost loop of the convolutions: a tile of up to 14 rows by 2 registers, or 8 by 3, held in registers over all taps and channels.
/// Strided rows are pixels (or channels) of an image and the lanes are output channels; otherwise rows are output channels and the
/// lanes are pixels. No copy of the image per tap is ever made. Sums run over k in order, one accumulator per element.
/// </summary>
/// <remarks>The repetition is deliberate: the JIT keeps locals in registers, but neither arrays nor inline arrays.</remarks>
internal static unsafe class ConvTile<T, TVec, TSimd, TTile>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TTile : struct, ITile
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    [SkipLocalsInit]
    public static void Run(ConvTileArguments<T>* tile)
    {
        TVec x0 = TSimd.Zero, y0 = TSimd.Zero, z0 = TSimd.Zero;
        TVec x1 = TSimd.Zero, y1 = TSimd.Zero, z1 = TSimd.Zero;
        TVec x2 = TSimd.Zero, y2 = TSimd.Zero, z2 = TSimd.Zero;
        TVec x3 = TSimd.Zero, y3 = TSimd.Zero, z3 = TSimd.Zero;
        TVec x4 = TSimd.Zero, y4 = TSimd.Zero, z4 = TSimd.Zero;
        TVec x5 = TSimd.Zero, y5 = TSimd.Zero, z5 = TSimd.Zero;
        TVec x6 = TSimd.Zero, y6 = TSimd.Zero, z6 = TSimd.Zero;
        TVec x7 = TSimd.Zero, y7 = TSimd.Zero, z7 = TSimd.Zero;
        TVec x8 = TSimd.Zero, y8 = TSimd.Zero;
        TVec x9 = TSimd.Zero, y9 = TSimd.Zero;
        TVec x10 = TSimd.Zero, y10 = TSimd.Zero;
        TVec x11 = TSimd.Zero, y11 = TSimd.Zero;
        TVec x12 = TSimd.Zero, y12 = TSimd.Zero;
        TVec x13 = TSimd.Zero, y13 = TSimd.Zero;
        var image = TTile.StridedRows ? tile->A : tile->B;
        var packed = TTile.StridedRows ? tile->B : tile->A;
        var step = TTile.StridedRows ? tile->BStep : TTile.Rows;
        var second = tile->BRegister;
        var third = 2 * second;
        // Strided rows are addressed from every fourth one: few registers instead of fourteen.
        var row1 = TTile.StridedRows ? tile->RowStep : 1;
        var row2 = 2 * row1;
        var row3 = 3 * row1;
        var row4 = 4 * row1;

        for (var n = tile->Images; n != 0; n--)
        {
            var table = tile->Table;
            var end = table + tile->Depth;
            for (; table != end; table++)
            {
                var here = image + *table;
                var a = TTile.StridedRows ? here : packed;
                var b = TTile.StridedRows ? packed : here;
                var b0 = TSimd.Load(b);
                var b1 = TTile.Columns > 1 ? TSimd.Load(b + second) : TSimd.Zero;
                var b2 = TTile.Columns > 2 ? TSimd.Load(b + third) : TSimd.Zero;
                if (TTile.Rows > 0)
                {
                    var v = TSimd.Broadcast(a);
                    x0 = TSimd.MultiplyAdd(v, b0, x0);
                    if (TTile.Columns > 1) y0 = TSimd.MultiplyAdd(v, b1, y0);
                    if (TTile.Columns > 2) z0 = TSimd.MultiplyAdd(v, b2, z0);
                }
                if (TTile.Rows > 1)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a + row1 : a + 1);
                    x1 = TSimd.MultiplyAdd(v, b0, x1);
                    if (TTile.Columns > 1) y1 = TSimd.MultiplyAdd(v, b1, y1);
                    if (TTile.Columns > 2) z1 = TSimd.MultiplyAdd(v, b2, z1);
                }
                if (TTile.Rows > 2)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a + row2 : a + 2);
                    x2 = TSimd.MultiplyAdd(v, b0, x2);
                    if (TTile.Columns > 1) y2 = TSimd.MultiplyAdd(v, b1, y2);
                    if (TTile.Columns > 2) z2 = TSimd.MultiplyAdd(v, b2, z2);
                }
                if (TTile.Rows > 3)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a + row3 : a + 3);
                    x3 = TSimd.MultiplyAdd(v, b0, x3);
                    if (TTile.Columns > 1) y3 = TSimd.MultiplyAdd(v, b1, y3);
                    if (TTile.Columns > 2) z3 = TSimd.MultiplyAdd(v, b2, z3);
                }
                var a4 = a + row4;
                if (TTile.Rows > 4)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a4 : a + 4);
                    x4 = TSimd.MultiplyAdd(v, b0, x4);
                    if (TTile.Columns > 1) y4 = TSimd.MultiplyAdd(v, b1, y4);
                    if (TTile.Columns > 2) z4 = TSimd.MultiplyAdd(v, b2, z4);
                }
                if (TTile.Rows > 5)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a4 + row1 : a + 5);
                    x5 = TSimd.MultiplyAdd(v, b0, x5);
                    if (TTile.Columns > 1) y5 = TSimd.MultiplyAdd(v, b1, y5);
                    if (TTile.Columns > 2) z5 = TSimd.MultiplyAdd(v, b2, z5);
                }
                if (TTile.Rows > 6)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a4 + row2 : a + 6);
                    x6 = TSimd.MultiplyAdd(v, b0, x6);
                    if (TTile.Columns > 1) y6 = TSimd.MultiplyAdd(v, b1, y6);
                    if (TTile.Columns > 2) z6 = TSimd.MultiplyAdd(v, b2, z6);
                }
                if (TTile.Rows > 7)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a4 + row3 : a + 7);
                    x7 = TSimd.MultiplyAdd(v, b0, x7);
                    if (TTile.Columns > 1) y7 = TSimd.MultiplyAdd(v, b1, y7);
                    if (TTile.Columns > 2) z7 = TSimd.MultiplyAdd(v, b2, z7);
                }
                var a8 = a4 + row4;
                if (TTile.Rows > 8)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a8 : a + 8);
                    x8 = TSimd.MultiplyAdd(v, b0, x8);
                    if (TTile.Columns > 1) y8 = TSimd.MultiplyAdd(v, b1, y8);
                }
                if (TTile.Rows > 9)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a8 + row1 : a + 9);
                    x9 = TSimd.MultiplyAdd(v, b0, x9);
                    if (TTile.Columns > 1) y9 = TSimd.MultiplyAdd(v, b1, y9);
                }
                if (TTile.Rows > 10)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a8 + row2 : a + 10);
                    x10 = TSimd.MultiplyAdd(v, b0, x10);
                    if (TTile.Columns > 1) y10 = TSimd.MultiplyAdd(v, b1, y10);
                }
                if (TTile.Rows > 11)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a8 + row3 : a + 11);
                    x11 = TSimd.MultiplyAdd(v, b0, x11);
                    if (TTile.Columns > 1) y11 = TSimd.MultiplyAdd(v, b1, y11);
                }
                var a12 = a8 + row4;
                if (TTile.Rows > 12)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a12 : a + 12);
                    x12 = TSimd.MultiplyAdd(v, b0, x12);
                    if (TTile.Columns > 1) y12 = TSimd.MultiplyAdd(v, b1, y12);
                }
                if (TTile.Rows > 13)
                {
                    var v = TSimd.Broadcast(TTile.StridedRows ? a12 + row1 : a + 13);
                    x13 = TSimd.MultiplyAdd(v, b0, x13);
                    if (TTile.Columns > 1) y13 = TSimd.MultiplyAdd(v, b1, y13);
                }
                packed += step;
            }
            image += tile->ImageStep;
            packed += tile->PackedGap;
        }

        if (TTile.Rows > 0) Finish(tile, 0, x0, y0, z0);
        if (TTile.Rows > 1) Finish(tile, 1, x1, y1, z1);
        if (TTile.Rows > 2) Finish(tile, 2, x2, y2, z2);
        if (TTile.Rows > 3) Finish(tile, 3, x3, y3, z3);
        if (TTile.Rows > 4) Finish(tile, 4, x4, y4, z4);
        if (TTile.Rows > 5) Finish(tile, 5, x5, y5, z5);
        if (TTile.Rows > 6) Finish(tile, 6, x6, y6, z6);
        if (TTile.Rows > 7) Finish(tile, 7, x7, y7, z7);
        if (TTile.Rows > 8) Finish(tile, 8, x8, y8, TSimd.Zero);
        if (TTile.Rows > 9) Finish(tile, 9, x9, y9, TSimd.Zero);
        if (TTile.Rows > 10) Finish(tile, 10, x10, y10, TSimd.Zero);
        if (TTile.Rows > 11) Finish(tile, 11, x11, y11, TSimd.Zero);
        if (TTile.Rows > 12) Finish(tile, 12, x12, y12, TSimd.Zero);
        if (TTile.Rows > 13) Finish(tile, 13, x13, y13, TSimd.Zero);
    }

    /// <summary>Adds what C holds and the bias, and stores one row of the tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Finish(ConvTileArguments<T>* tile, int row, TVec x, TVec y, TVec z)
    {
        var c = tile->C + (row * tile->Ldc);
        Finish(tile, row, x, c, 0, tile->Lanes);
        if (TTile.Columns > 1) Finish(tile, row, y, c + tile->CRegister, TSimd.Width, tile->LanesSecond);
        if (TTile.Columns > 2) Finish(tile, row, z, c + (2 * tile->CRegister), 2 * TSimd.Width, tile->LanesSecond);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Finish(ConvTileArguments<T>* tile, int row, TVec value, T* c, int lane, int lanes)
    {
        if (tile->AddC) value = TSimd.Add(value, TSimd.Load(c));
        if (tile->Bias != null)
        {
            var bias = TTile.StridedRows ? TSimd.Load(tile->Bias + lane) : TSimd.Broadcast(tile->Bias + row);
            value = TSimd.Add(value, bias);
        }

        if (TTile.Partial) TSimd.StoreMasked(c, TSimd.Mask(lanes), value);
        else TSimd.Store(c, value);
    }
}
