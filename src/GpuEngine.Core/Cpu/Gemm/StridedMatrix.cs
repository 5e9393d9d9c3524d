using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// An operand in memory: element x (row of op(A), column of op(B)) at depth k lies at <c>data[x * xStride + k *
/// kStride]</c>. One of the two strides is 1.
/// </summary>
public readonly unsafe struct StridedMatrix<T>(T* data, nint xStride, nint kStride, nint batchStride) : IPanelPacker<T>
    where T : unmanaged
{
    /// <summary>The most elements that a packer may write behind a panel of A: one register.</summary>
    public const int Overrun = 16;

    public T* Data { get; } = data;

    public nint XStride { get; } = xStride;

    public nint KStride { get; } = kStride;

    public nint BatchStride { get; } = batchStride;

    public T* At(nint batch, nint k, nint x) => Data + (batch * BatchStride) + (k * KStride) + (x * XStride);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Pack<TSimd, TVec>(T* panel, int width, nint batch, nint k0, int depth, nint x0, int count)
        where TSimd : struct, ISimd<TVec, T>
        where TVec : struct
    {
        var source = At(batch, k0, x0);
        if (XStride == 1) CopyRows<TSimd, TVec>(source, KStride, panel, width, depth, count);
        else TransposeRows<TSimd, TVec>(source, XStride, panel, width, depth, count);
    }

    /// <summary>x is contiguous: each depth is a short copy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CopyRows<TSimd, TVec>(T* source, nint stride, T* panel, int width, int depth, int count)
        where TSimd : struct, ISimd<TVec, T>
        where TVec : struct
    {
        if (count == 2 * TSimd.Width)
        {
            for (var k = 0; k < depth; k++)
            {
                TSimd.Prefetch(source + width);
                TSimd.Prefetch(source + width + TSimd.Width);
                TSimd.Store(panel, TSimd.Load(source));
                TSimd.Store(panel + TSimd.Width, TSimd.Load(source + TSimd.Width));
                source += stride;
                panel += width;
            }
            return;
        }
        var whole = count / TSimd.Width * TSimd.Width;
        var rest = count - whole;
        var mask = TSimd.Mask(Math.Max(1, rest));
        for (var k = 0; k < depth; k++)
        {
            for (var x = 0; x < whole; x += TSimd.Width) TSimd.Store(panel + x, TSimd.Load(source + x));
            // The store is a whole register: what it spills over is padding, or the next depth, which comes next.
            if (rest != 0) TSimd.Store(panel + whole, TSimd.LoadMasked(source + whole, mask));
            source += stride;
            panel += width;
        }
    }

    /// <summary>k is contiguous: blocks of rows are transposed in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TransposeRows<TSimd, TVec>(T* source, nint stride, T* panel, int width, int depth, int count)
        where TSimd : struct, ISimd<TVec, T>
        where TVec : struct
    {
        if (depth < TSimd.Width)
        {
            for (var k = 0; k < depth; k++)
            {
                for (var x = 0; x < width; x++) panel[(k * width) + x] = source[(Math.Min(x, count - 1) * stride) + k];
            }
            return;
        }
        var rows = stackalloc T*[4];
        // Groups of rows from the last to the first: a group writes whole, so the last one spills into the first rows
        // of the next depth, and those are written after it.
        var group = TSimd.TransposeRows;
        for (var x = (width - 1) / group * group; x >= 0; x -= group)
        {
            for (var i = 0; i < group; i++) rows[i] = source + (Math.Min(x + i, count - 1) * stride);
            var k = 0;
            while (true)
            {
                for (var i = 0; i < group; i++) TSimd.Prefetch(rows[i] + (width * stride));
                TSimd.Transpose(rows, panel + (k * width) + x, width);
                if (k + TSimd.Width == depth) break;
                // The last block overlaps the one before it rather than being a partial one.
                var step = Math.Min(TSimd.Width, depth - TSimd.Width - k);
                for (var i = 0; i < group; i++) rows[i] += step;
                k += step;
            }
        }
    }
}
