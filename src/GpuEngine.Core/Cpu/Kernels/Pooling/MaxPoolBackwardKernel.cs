using System.Numerics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>The gradient of a max pool, plane by plane; windows are added in row-major order.</summary>
internal sealed unsafe class MaxPoolBackwardKernel<T>(Node node) : CpuKernel where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly bool _pairs = MaxPoolKernel<T>.IsPairs(((MaxPoolBackwardOp)node.Op).Of);
    private readonly long _planes = node.Outputs[0].Shape.Product(0, 2);
    private readonly int _height = node.Outputs[0].Shape[2];
    private readonly int _width = node.Outputs[0].Shape[3];
    private readonly int _outHeight = node.Inputs[0].Shape[2];
    private readonly int _outWidth = node.Inputs[0].Shape[3];

    protected override bool IsParallel => _planes * _height * _width >= 16384;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_planes, worker, workers);
        // Whole windows only: those that hang over take the general way.
        var inRegisters = _pairs && _outWidth >= PairColumns.Least && _height == 2 * _outHeight && _width / 2 == _outWidth;
        for (var plane = start; plane < end; plane++)
        {
            var dx = Out<T>(0) + plane * _height * _width;
            var dy = In<T>(0) + plane * _outHeight * _outWidth;
            var places = In<int>(1) + plane * _outHeight * _outWidth;
            if (inRegisters) Pairs((float*)dy, places, (float*)dx);
            else Scatter(dy, places, dx);
        }
    }

    private void Pairs(float* dy, int* places, float* dx)
    {
        for (var p = 0; p < _outHeight; p++)
        {
            var first = 2 * p * _width;
            PairColumns.Spread(dy + p * _outWidth, places + p * _outWidth, dx + first, _width, first, _outWidth);
            // An odd last column belongs to no window.
            if (_width == 2 * _outWidth) continue;
            dx[first + _width - 1] = 0;
            dx[first + 2 * _width - 1] = 0;
        }
    }

    private void Scatter(T* dy, int* places, T* dx)
    {
        new Span<T>(dx, _height * _width).Clear();
        for (var i = 0; i < _outHeight * _outWidth; i++)
        {
            // A dilated window may have no element inside the input; its place then is outside, too.
            if ((uint)places[i] < (uint)(_height * _width)) dx[places[i]] += dy[i];
        }
    }
}
