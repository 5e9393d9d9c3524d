using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// The weight gradient of a depthwise convolution (one channel per group) with step 1 along rows: a channel has nothing to share
/// with the others, so the lanes are pixels and each tap is an inner product of dy with the shifted image. Workers take channels and
/// sum over the images in order.
/// </summary>
internal sealed unsafe class DepthwiseWeightGradient<T, TVec, TSimd> : CpuKernel
    where T : unmanaged
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
{
    private readonly ConvAxis _rows;
    private readonly ConvAxis _columns;
    private readonly int _images;
    private readonly int _channels;
    private readonly int _pitch;
    private readonly nint _imageElements;
    private readonly nint _workerElements;
    private readonly int _workers;

    public DepthwiseWeightGradient(ConvGeometry g, Shape x, Shape w, Shape y, int workers)
    {
        (_images, _channels, _workers) = (x[0], x[1], workers);
        _rows = ConvAxis.Forward(y[2], x[2], w[2], g.Stride[0], g.Padding[0], g.Dilation[0]);
        _columns = ConvAxis.Forward(y[3], x[3], w[3], g.Stride[1], g.Padding[1], g.Dilation[1]);
        _pitch = _columns.PadLow + x[3] + _columns.PadHigh;
        _imageElements = ((nint)x[2] * _pitch + 63) / 64 * 64;
        _workerElements = _imageElements + (nint)w[2] * w[3] * TSimd.Width;
    }

    public override long WorkspaceBytes => _workers * _workerElements * sizeof(T);

    protected override bool IsParallel => (long)_images * _channels * _rows.Output * _columns.Output >= 16384;

    private int Taps => _rows.Classes[0].Taps.Length * _columns.Classes[0].Taps.Length;

    /// <summary>Whether this kernel takes a convolution.</summary>
    public static bool Fits(ConvGeometry g, Shape w) => w[1] == 1 && w[0] == g.Groups && g.Stride[1] == 1;

    public override void Execute(int worker, int workers)
    {
        var image = (T*)Workspace + worker * _workerElements;
        var sums = image + _imageElements;
        // The space beside the rows is zero and stays so.
        Unsafe.InitBlock(image, 0, checked((uint)(_imageElements * sizeof(T))));
        var (start, end) = Share(_channels, worker, workers);
        for (var channel = start; channel < end; channel++)
        {
            Unsafe.InitBlock(sums, 0, (uint)(Taps * TSimd.Width * sizeof(T)));
            for (var n = 0; n < _images; n++)
            {
                var plane = (nint)n * _channels + (nint)channel;
                ConvRows<T, TVec, TSimd>.Spread(
                    In<T>(1) + plane * _rows.Input * _columns.Input, 0, _columns.Input, image + _columns.PadLow, 0, _pitch,
                    1, _rows.Input);
                Add(image + _columns.PadLow, In<T>(0) + plane * _rows.Output * _columns.Output, sums);
            }

            for (var tap = 0; tap < Taps; tap++) Out<T>(0)[channel * Taps + tap] = TSimd.Sum(TSimd.Load(sums + tap * TSimd.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Add(T* image, T* dy, T* sums)
    {
        var width = _columns.Output;
        var taps = _columns.Classes[0].Offsets;
        var whole = width / TSimd.Width * TSimd.Width;
        var mask = TSimd.Mask(Math.Max(1, width - whole));
        for (var p = 0; p < _rows.Output; p++, dy += width)
        {
            var (start, end) = _rows.Inside(p);
            for (var q = 0; q < width; q += TSimd.Width)
            {
                var isWhole = q < whole;
                var g = isWhole ? TSimd.Load(dy + q) : TSimd.LoadMasked(dy + q, mask);
                for (var r = start; r < end; r++)
                {
                    var row = image + (nint)(_rows.InStep * p + _rows.Classes[0].Offsets[r]) * _pitch + q;
                    var sum = sums + (nint)r * taps.Length * TSimd.Width;
                    foreach (var offset in taps)
                    {
                        var x = isWhole ? TSimd.Load(row + offset) : TSimd.LoadMasked(row + offset, mask);
                        TSimd.Store(sum, TSimd.MultiplyAdd(g, x, TSimd.Load(sum)));
                        sum += TSimd.Width;
                    }
                }
            }
        }
    }
}
