using System.Numerics;
using System.Numerics.Tensors;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Means over windows, plane by plane; elements are added row by row.</summary>
internal sealed unsafe class AveragingKernel<T>(Node node) : CpuKernel where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly AveragingPlane<T> _plane = new((AveragingOp)node.Op, node.Inputs[0].Shape);
    private readonly long _planes = node.Inputs[0].Shape.Product(0, 2);

    protected override bool IsParallel => _planes * _plane.InputElements >= 16384;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_planes, worker, workers);
        for (var plane = start; plane < end; plane++)
            _plane.Forward(In<T>(0) + plane * _plane.InputElements, Out<T>(0) + plane * _plane.OutputElements);
    }
}

/// <summary>The gradient of means over windows, plane by plane; windows are added in row-major order.</summary>
internal sealed unsafe class AveragingBackwardKernel<T>(Node node) : CpuKernel where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly AveragingPlane<T> _plane = new(((AveragingBackwardOp)node.Op).Of, node.Outputs[0].Shape);
    private readonly long _planes = node.Outputs[0].Shape.Product(0, 2);

    protected override bool IsParallel => _planes * _plane.InputElements >= 16384;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_planes, worker, workers);
        for (var plane = start; plane < end; plane++)
            _plane.Backward(In<T>(0) + plane * _plane.OutputElements, Out<T>(0) + plane * _plane.InputElements);
    }
}

/// <summary>The windows of an averaging pool on one plane of an image.</summary>
internal sealed unsafe class AveragingPlane<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly PoolWindow[] _high;
    private readonly PoolWindow[] _wide;
    private readonly T[] _divisors;
    private readonly int _width;
    private readonly bool _pairs;
    private readonly bool _disjoint;

    public AveragingPlane(AveragingOp op, Shape input)
    {
        (_high, _wide, _width) = (op.Windows(0, input[2]), op.Windows(1, input[3]), input[3]);
        T[] divisors = [.. _high.SelectMany(h => _wide.Select(w => T.CreateChecked(op.SafeDivisor(h, w))))];
        _divisors = GC.AllocateArray<T>(divisors.Length, pinned: true);
        divisors.CopyTo(_divisors, 0);
        InputElements = (long)input[2] * input[3];
        _pairs = typeof(T) == typeof(float) && IsPairs(_high) && IsPairs(_wide);
        _disjoint = IsDisjoint(_high) && IsDisjoint(_wide);
    }

    public long InputElements { get; }

    public long OutputElements => _divisors.Length;

    public void Forward(T* x, T* y)
    {
        for (var p = 0; p < _high.Length; p++)
        {
            var high = _high[p];
            var q = 0;
            if (_pairs && _wide.Length >= PairColumns.Least)
            {
                q = _wide.Length;
                fixed (T* divisors = &_divisors[p * q])
                    PairColumns.Mean((float*)(x + high.Start * _width), _width, (float*)divisors, (float*)(y + p * q), q);
            }

            for (; q < _wide.Length; q++)
            {
                var wide = _wide[q];
                y[p * _wide.Length + q] = Sum(x, high, wide) / _divisors[p * _wide.Length + q];
            }
        }
    }

    public void Backward(T* dy, T* dx)
    {
        new Span<T>(dx, (int)InputElements).Clear();
        for (var p = 0; p < _high.Length; p++)
        {
            var high = _high[p];
            for (var q = 0; q < _wide.Length; q++)
            {
                var wide = _wide[q];
                var share = dy[p * _wide.Length + q] / _divisors[p * _wide.Length + q];
                for (var h = high.Start; h < high.End; h++)
                {
                    var row = dx + h * _width;
                    if (_disjoint) new Span<T>(row + wide.Start, wide.Extent).Fill(share);
                    else for (var w = wide.Start; w < wide.End; w++) row[w] += share;
                }
            }
        }
    }

    private static bool IsPairs(PoolWindow[] windows) =>
        windows.Index().All(w => w.Item.Start == 2 * w.Index && w.Item.Extent == 2);

    private static bool IsDisjoint(PoolWindow[] windows) =>
        windows.Zip(windows.Skip(1)).All(w => w.First.End <= w.Second.Start);

    private T Sum(T* x, PoolWindow high, PoolWindow wide)
    {
        // A window of whole rows lies in one piece.
        if (wide.Extent == _width) return TensorPrimitives.Sum(new ReadOnlySpan<T>(x + high.Start * _width, high.Extent * _width));
        var sum = T.Zero;
        for (var h = high.Start; h < high.End; h++)
        {
            for (var w = wide.Start; w < wide.End; w++) sum += x[h * _width + w];
        }

        return sum;
    }
}
