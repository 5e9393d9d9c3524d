using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Max pools of any window in f32, eight windows of a row at a time. An input row is first dealt out by its column modulo the step, with
/// minus infinity at its sides: what one tap reads for neighbouring windows then lies side by side. Taps are taken in the order of
/// <see cref="MaxPoolKernel{T}"/>, so values and places are the same.
/// </summary>
internal sealed unsafe class MaxPoolRowsKernel : CpuKernel
{
    private const int Lanes = 8;

    private readonly MaxPoolOp _op;
    private readonly long _planes;
    private readonly int _height;
    private readonly int _width;
    private readonly int _outHeight;
    private readonly int _outWidth;
    private readonly int _pitch;
    private readonly int _ring;
    private readonly int _workers;
    private readonly int[] _left;

    // Per tap of a row: its column, and where the first window's lies in a dealt row.
    private readonly (int Column, long At)[] _taps;

    public MaxPoolRowsKernel(Node node, int workers)
    {
        var (x, y) = (node.Inputs[0].Shape, node.Outputs[0].Shape);
        (_op, _workers, _planes) = ((MaxPoolOp)node.Op, workers, x.Product(0, 2));
        (_height, _width, _outHeight, _outWidth) = (x[2], x[3], y[2], y[3]);
        var rounded = (_outWidth + Lanes - 1) / Lanes * Lanes;
        // A phase holds what the last window's last tap reads, and every column of the input.
        var last = Math.Max((rounded - 1) * _op.Stride[1] + (_op.Kernel[1] - 1) * _op.Dilation[1], _op.Padding[1] + _width - 1);
        _pitch = (last / _op.Stride[1] + 1 + Lanes - 1) / Lanes * Lanes;
        _ring = (_op.Kernel[0] - 1) * _op.Dilation[0] + 1;
        _taps = [.. Enumerable.Range(0, _op.Kernel[1]).Select(t => t * _op.Dilation[1]).Select(c => (c, (long)(c % _op.Stride[1] * _pitch + c / _op.Stride[1])))];
        _left = GC.AllocateArray<int>(rounded, pinned: true);
        for (var q = 0; q < rounded; q++) _left[q] = MaxPoolKernel<float>.Inside(q * _op.Stride[1] - _op.Padding[1], _op.Kernel[1], _op.Dilation[1], _width).Start;
    }

    public override long WorkspaceBytes => _workers * WorkerElements * sizeof(float);

    protected override bool IsParallel => _planes * _height * _width >= 16384;

    private long RowElements => (long)_op.Stride[1] * _pitch;

    // The dealt rows, then one row of values and one of places.
    private long WorkerElements => _ring * RowElements + 2 * _left.Length;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_planes, worker, workers);
        var rows = (float*)Workspace + worker * WorkerElements;
        new Span<float>(rows, (int)(_ring * RowElements)).Fill(float.NegativeInfinity);
        for (var plane = start; plane < end; plane++)
        {
            Plane(
                In<float>(0) + plane * _height * _width, Out<float>(0) + plane * _outHeight * _outWidth,
                Out<int>(1) + plane * _outHeight * _outWidth, rows);
        }
    }

    private void Plane(float* x, float* y, int* places, float* rows)
    {
        var values = rows + _ring * RowElements;
        var at = (int*)values + _left.Length;
        var next = 0;
        for (var p = 0; p < _outHeight; p++)
        {
            var start = p * _op.Stride[0] - _op.Padding[0];
            var (top, bottom) = MaxPoolKernel<float>.Inside(start, _op.Kernel[0], _op.Dilation[0], _height);
            // From the window's start, not from its first tap inside: a later window may begin before that.
            for (next = Math.Max(next, start); next < bottom; next++) Deal(x + (long)next * _width, rows + next % _ring * RowElements);
            for (var q = 0; q < _left.Length; q += Lanes) Windows(rows, top, bottom, q, values + q, at + q);
            new ReadOnlySpan<float>(values, _outWidth).CopyTo(new Span<float>(y + (long)p * _outWidth, _outWidth));
            new ReadOnlySpan<int>(at, _outWidth).CopyTo(new Span<int>(places + (long)p * _outWidth, _outWidth));
        }
    }

    /// <summary>Column c of the padded row goes to place c / step of phase c % step; the sides keep their minus infinity.</summary>
    private void Deal(float* source, float* row)
    {
        var (step, padding) = (_op.Stride[1], _op.Padding[1]);
        if (step == 1)
        {
            new ReadOnlySpan<float>(source, _width).CopyTo(new Span<float>(row + padding, _width));
            return;
        }

        if (step == 2)
        {
            PairColumns.Deal(
                source, _width, row + padding % 2 * (long)_pitch + padding / 2, row + (padding + 1) % 2 * (long)_pitch + (padding + 1) / 2);
            return;
        }

        for (var w = 0; w < _width; w++) row[(w + padding) % step * (long)_pitch + (w + padding) / step] = source[w];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Windows(float* rows, int top, int bottom, int q, float* values, int* places)
    {
        var best = Vector256.Create(float.NegativeInfinity);
        fixed (int* left = &_left[q])
        {
            var place = Vector256.Load(left) + Vector256.Create(top * _width);
            var (step, first) = (_op.Stride[1], q * _op.Stride[1] - _op.Padding[1]);
            for (var h = top; h < bottom; h += _op.Dilation[0])
            {
                var row = rows + h % _ring * RowElements + q;
                var here = Vector256.Create(h * _width + first) + step * Vector256<int>.Indices;
                foreach (var (column, at) in _taps)
                    PairColumns.Take(ref best, ref place, Vector256.Load(row + at), here + Vector256.Create(column));
            }

            best.Store(values);
            place.Store(places);
        }
    }
}
