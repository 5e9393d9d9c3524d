using System.Numerics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Maxima over windows with their places, plane by plane. As in torch the first maximum of a window is taken, a NaN beats
/// everything and the last NaN beats the others.
/// </summary>
internal sealed unsafe class MaxPoolKernel<T>(Node node) : CpuKernel where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly MaxPoolOp _op = (MaxPoolOp)node.Op;
    private readonly long _planes = node.Inputs[0].Shape.Product(0, 2);
    private readonly int _height = node.Inputs[0].Shape[2];
    private readonly int _width = node.Inputs[0].Shape[3];
    private readonly int _outHeight = node.Outputs[0].Shape[2];
    private readonly int _outWidth = node.Outputs[0].Shape[3];

    private readonly bool _pairs = IsPairs((MaxPoolOp)node.Op);

    protected override bool IsParallel => _planes * _height * _width >= 16384;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_planes, worker, workers);
        var (kernelH, kernelW) = (_op.Kernel[0], _op.Kernel[1]);
        var (strideH, strideW) = (_op.Stride[0], _op.Stride[1]);
        var (dilationH, dilationW) = (_op.Dilation[0], _op.Dilation[1]);
        for (var plane = start; plane < end; plane++)
        {
            var x = In<T>(0) + plane * _height * _width;
            var y = Out<T>(0) + plane * _outHeight * _outWidth;
            var index = Out<int>(1) + plane * _outHeight * _outWidth;
            for (var p = 0; p < _outHeight; p++)
            {
                var (top, bottom) = Inside(p * strideH - _op.Padding[0], kernelH, dilationH, _height);
                var q = 0;
                if (_pairs && _width / 2 >= PairColumns.Least && bottom - top == 2)
                {
                    q = _width / 2;
                    PairColumns.Max((float*)(x + top * _width), _width, top * _width, (float*)y, index, q);
                    y += q;
                    index += q;
                }

                for (; q < _outWidth; q++)
                {
                    var (left, right) = Inside(q * strideW - _op.Padding[1], kernelW, dilationW, _width);
                    var (best, place) = (T.NegativeInfinity, top * _width + left);
                    for (var h = top; h < bottom; h += dilationH)
                    {
                        for (var w = left; w < right; w += dilationW)
                        {
                            var value = x[h * _width + w];
                            // Selections, not a branch: which element is the largest cannot be predicted.
                            var take = value > best | T.IsNaN(value);
                            best = take ? value : best;
                            place = take ? h * _width + w : place;
                        }
                    }

                    *y++ = best;
                    *index++ = place;
                }
            }
        }
    }

    /// <summary>Whether <see cref="PairColumns"/> can take the windows.</summary>
    internal static bool IsPairs(MaxPoolOp op) => typeof(T) == typeof(float)
        && op.Kernel == [2, 2] && op.Stride == [2, 2] && op.Padding == [0, 0] && op.Dilation == [1, 1];

    /// <summary>The first element of a window inside the input, and the end of the window inside it.</summary>
    internal static (int Start, int End) Inside(int start, int kernel, int dilation, int extent)
    {
        var end = Math.Min(start + (kernel - 1) * dilation + 1, extent);
        while (start < 0) start += dilation;
        return (start, end);
    }
}
