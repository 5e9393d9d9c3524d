using System.Numerics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Convolution by its definition.</summary>
internal sealed unsafe class PlainConvolution<T>(Node node) : CpuKernel where T : unmanaged, INumber<T>
{
    private readonly ConvGeometry _g = ((ConvolutionOp)node.Op).Geometry;
    private readonly Shape _x = node.Inputs[0].Shape;
    private readonly Shape _w = node.Inputs[1].Shape;
    private readonly Shape _y = node.Outputs[0].Shape;

    protected override bool IsParallel => true;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_y.Product(0, 2), worker, workers);
        for (var plane = start; plane < end; plane++)
        {
            var (n, k) = (plane / _y[1], (int)(plane % _y[1]));
            var y = Out<T>(0) + plane * _y[2] * _y[3];
            new Span<T>(y, _y[2] * _y[3]).Clear();
            var first = k / (_w[0] / _g.Groups) * _w[1];
            for (var c = 0; c < _w[1]; c++)
            {
                var x = In<T>(0) + (n * _x[1] + first + c) * _x[2] * _x[3];
                for (var r = 0; r < _w[2]; r++)
                {
                    for (var s = 0; s < _w[3]; s++)
                    {
                        var weight = In<T>(1)[((k * _w[1] + c) * _w[2] + r) * _w[3] + s];
                        for (var p = 0; p < _y[2]; p++)
                        {
                            var h = p * _g.Stride[0] + r * _g.Dilation[0] - _g.Padding[0];
                            if ((uint)h >= (uint)_x[2]) continue;
                            for (var q = 0; q < _y[3]; q++)
                            {
                                var v = q * _g.Stride[1] + s * _g.Dilation[1] - _g.Padding[1];
                                if ((uint)v < (uint)_x[3]) y[p * _y[3] + q] += weight * x[h * _x[3] + v];
                            }
                        }
                    }
                }
            }
        }
    }
}

/// <summary>Input gradient by its definition.</summary>
internal sealed unsafe class PlainConvolutionInput<T>(Node node) : CpuKernel where T : unmanaged, INumber<T>
{
    private readonly ConvGeometry _g = ((ConvolutionInputOp)node.Op).Geometry;
    private readonly Shape _x = node.Outputs[0].Shape;
    private readonly Shape _w = node.Inputs[1].Shape;
    private readonly Shape _y = node.Inputs[0].Shape;

    protected override bool IsParallel => true;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_x.Product(0, 2), worker, workers);
        for (var plane = start; plane < end; plane++)
        {
            var (n, channel) = (plane / _x[1], (int)(plane % _x[1]));
            var x = Out<T>(0) + plane * _x[2] * _x[3];
            new Span<T>(x, _x[2] * _x[3]).Clear();
            var (group, c) = (channel / _w[1], channel % _w[1]);
            var outputs = _w[0] / _g.Groups;
            for (var k = group * outputs; k < (group + 1) * outputs; k++)
            {
                var y = In<T>(0) + (n * _y[1] + k) * _y[2] * _y[3];
                for (var r = 0; r < _w[2]; r++)
                {
                    for (var s = 0; s < _w[3]; s++)
                    {
                        var weight = In<T>(1)[((k * _w[1] + c) * _w[2] + r) * _w[3] + s];
                        for (var p = 0; p < _y[2]; p++)
                        {
                            var h = p * _g.Stride[0] + r * _g.Dilation[0] - _g.Padding[0];
                            if ((uint)h >= (uint)_x[2]) continue;
                            for (var q = 0; q < _y[3]; q++)
                            {
                                var v = q * _g.Stride[1] + s * _g.Dilation[1] - _g.Padding[1];
                                if ((uint)v < (uint)_x[3]) x[h * _x[3] + v] += weight * y[p * _y[3] + q];
                            }
                        }
                    }
                }
            }
        }
    }
}

/// <summary>Weight gradient by its definition.</summary>
internal sealed unsafe class PlainConvolutionWeight<T>(Node node) : CpuKernel where T : unmanaged, INumber<T>
{
    private readonly ConvGeometry _g = ((ConvolutionWeightOp)node.Op).Geometry;
    private readonly Shape _x = node.Inputs[1].Shape;
    private readonly Shape _w = node.Outputs[0].Shape;
    private readonly Shape _y = node.Inputs[0].Shape;

    protected override bool IsParallel => true;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_w.Elements, worker, workers);
        for (var i = start; i < end; i++)
        {
            var (s, r, c, k) = ((int)(i % _w[3]), (int)(i / _w[3] % _w[2]), (int)(i / _w.Product(2, 4) % _w[1]), (int)(i / _w.Product(1, 4)));
            var first = k / (_w[0] / _g.Groups) * _w[1];
            var sum = T.Zero;
            for (var n = 0; n < _y[0]; n++)
            {
                var x = In<T>(1) + ((long)n * _x[1] + first + c) * _x[2] * _x[3];
                var y = In<T>(0) + ((long)n * _y[1] + k) * _y[2] * _y[3];
                for (var p = 0; p < _y[2]; p++)
                {
                    var h = p * _g.Stride[0] + r * _g.Dilation[0] - _g.Padding[0];
                    if ((uint)h >= (uint)_x[2]) continue;
                    for (var q = 0; q < _y[3]; q++)
                    {
                        var v = q * _g.Stride[1] + s * _g.Dilation[1] - _g.Padding[1];
                        if ((uint)v < (uint)_x[3]) sum += y[p * _y[3] + q] * x[h * _x[3] + v];
                    }
                }
            }

            Out<T>(0)[i] = sum;
        }
    }
}
