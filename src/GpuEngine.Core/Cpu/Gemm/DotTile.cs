using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// Inner products of up to 4 rows with up to 4 columns that are both contiguous in k: registers run along k and are
/// summed at the end. For products with few rows or columns, where packing an operand would cost more than multiplying
/// it.
/// </summary>
internal static unsafe class DotTile<T, TVec, TSimd, TRows, TColumns>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TRows : struct, IConstant
    where TColumns : struct, IConstant
{
    /// <summary>Writes row i, column j to <c>sums[i * sumsStride + j]</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    [SkipLocalsInit]
    public static void Run(T* a, nint lda, T* b, nint ldb, int depth, T* sums, int sumsStride)
    {
        TVec s00 = TSimd.Zero, s01 = TSimd.Zero, s02 = TSimd.Zero, s03 = TSimd.Zero;
        TVec s10 = TSimd.Zero, s11 = TSimd.Zero, s12 = TSimd.Zero, s13 = TSimd.Zero;
        TVec s20 = TSimd.Zero, s21 = TSimd.Zero, s22 = TSimd.Zero, s23 = TSimd.Zero;
        TVec s30 = TSimd.Zero, s31 = TSimd.Zero, s32 = TSimd.Zero, s33 = TSimd.Zero;
        var whole = depth / TSimd.Width;
        var rest = depth - (whole * TSimd.Width);
        var mask = TSimd.Mask(Math.Max(1, rest));
        // One step more than there are whole registers: the last one is masked, its other lanes add zero times zero.
        for (var step = rest == 0 ? whole : whole + 1; step > 0; step--)
        {
            var partial = rest != 0 && step == 1;
            var b0 = Load(b, partial, mask);
            var b1 = TColumns.Value > 1 ? Load(b + ldb, partial, mask) : TSimd.Zero;
            var b2 = TColumns.Value > 2 ? Load(b + (2 * ldb), partial, mask) : TSimd.Zero;
            var b3 = TColumns.Value > 3 ? Load(b + (3 * ldb), partial, mask) : TSimd.Zero;
            Add(Load(a, partial, mask), b0, b1, b2, b3, ref s00, ref s01, ref s02, ref s03);
            if (TRows.Value > 1)
            {
                var a1 = Load(a + lda, partial, mask);
                Add(a1, b0, b1, b2, b3, ref s10, ref s11, ref s12, ref s13);
            }
            if (TRows.Value > 2)
            {
                var a2 = Load(a + (2 * lda), partial, mask);
                Add(a2, b0, b1, b2, b3, ref s20, ref s21, ref s22, ref s23);
            }
            if (TRows.Value > 3)
            {
                var a3 = Load(a + (3 * lda), partial, mask);
                Add(a3, b0, b1, b2, b3, ref s30, ref s31, ref s32, ref s33);
            }
            a += TSimd.Width;
            b += TSimd.Width;
        }
        Store(sums, s00, s01, s02, s03);
        if (TRows.Value > 1) Store(sums + sumsStride, s10, s11, s12, s13);
        if (TRows.Value > 2) Store(sums + (2 * sumsStride), s20, s21, s22, s23);
        if (TRows.Value > 3) Store(sums + (3 * sumsStride), s30, s31, s32, s33);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Load(T* address, bool partial, TVec mask) =>
        partial ? TSimd.LoadMasked(address, mask) : TSimd.Load(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(
        TVec a, TVec b0, TVec b1, TVec b2, TVec b3, ref TVec s0, ref TVec s1, ref TVec s2, ref TVec s3)
    {
        s0 = TSimd.MultiplyAdd(a, b0, s0);
        if (TColumns.Value > 1) s1 = TSimd.MultiplyAdd(a, b1, s1);
        if (TColumns.Value > 2) s2 = TSimd.MultiplyAdd(a, b2, s2);
        if (TColumns.Value > 3) s3 = TSimd.MultiplyAdd(a, b3, s3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(T* sums, TVec s0, TVec s1, TVec s2, TVec s3)
    {
        sums[0] = TSimd.Sum(s0);
        if (TColumns.Value > 1) sums[1] = TSimd.Sum(s1);
        if (TColumns.Value > 2) sums[2] = TSimd.Sum(s2);
        if (TColumns.Value > 3) sums[3] = TSimd.Sum(s3);
    }
}
