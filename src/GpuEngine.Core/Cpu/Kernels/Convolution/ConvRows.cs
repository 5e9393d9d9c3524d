using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Copies between an image and a kernel's own layout.</summary>
internal static unsafe class ConvRows<T, TVec, TSimd>
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    /// <summary>Copies rows of some channels to rows that lie further apart (the space between them stays as it is).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Spread(T* source, nint sourcePlane, int width, T* target, nint targetPlane, int pitch, int channels, int rows)
    {
        var whole = width / TSimd.Width * TSimd.Width;
        var mask = TSimd.Mask(Math.Max(1, width - whole));
        for (var c = 0; c < channels; c++)
        {
            var from = source + c * sourcePlane;
            var to = target + c * targetPlane;
            for (var row = 0; row < rows; row++)
            {
                for (var i = 0; i < whole; i += TSimd.Width) TSimd.Store(to + i, TSimd.Load(from + i));
                if (whole != width) TSimd.StoreMasked(to + whole, mask, TSimd.LoadMasked(from + whole, mask));
                from += width;
                to += pitch;
            }
        }
    }

    /// <summary>
    /// target[j * targetStep + i] = source[i * sourceStep + j] for i of [0, rows), j of [0, columns). Groups of rows and whole
    /// registers go through registers, overlapping at the ends; what is too small for that goes one by one.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose(T* source, nint sourceStep, T* target, nint targetStep, int rows, int columns)
    {
        var group = TSimd.TransposeRows;
        if (rows < group || columns < TSimd.Width)
        {
            for (var i = 0; i < rows; i++)
            {
                for (var j = 0; j < columns; j++) target[j * targetStep + i] = source[i * sourceStep + j];
            }

            return;
        }

        var addresses = stackalloc T*[4];
        for (var row = 0; ; row = Math.Min(row + group, rows - group))
        {
            for (var column = 0; ; column = Math.Min(column + TSimd.Width, columns - TSimd.Width))
            {
                for (var i = 0; i < group; i++) addresses[i] = source + (row + i) * sourceStep + column;
                TSimd.Transpose(addresses, target + column * targetStep + row, targetStep);
                if (column + TSimd.Width == columns) break;
            }

            if (row + group == rows) break;
        }
    }
}
