using System.Numerics;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// The walk over a mask of signs (<see cref="SignMask"/>): for every byte the first of the elements that it holds, which are neighbours.
/// Workers share out the columns of bytes of [C / packed, rows], or all bytes of planes.
/// </summary>
internal abstract unsafe class BatchNormMask<T> : CpuKernel where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Rows of channels that are walked together: their bytes of one column are neighbours.</summary>
    private const int Tile = 64;

    private readonly int _rows;
    private readonly int _channels;
    private readonly bool _planes;
    private readonly long _bytes;

    protected BatchNormMask(CpuKernel inner, Shape x, bool channelsLast)
    {
        (_rows, _channels, var length) = SignMask.View(x, channelsLast);
        _planes = length != 1;
        Packed = SignMask.Packed(x, channelsLast);
        _bytes = SignMask.TypeOf(x, channelsLast).Elements;
        Inner = inner;
    }

    public override long WorkspaceBytes => Inner.WorkspaceBytes;

    protected override bool IsParallel => _bytes * Packed >= BatchSchedule.ParallelElements;

    protected CpuKernel Inner { get; }

    /// <summary>Elements of a byte.</summary>
    protected int Packed { get; }

    public override void Execute(int worker, int workers)
    {
        if (_planes)
        {
            var (start, end) = Share(_bytes, worker, workers, 64);
            for (var i = start; i < end; i++) Visit(i, i * Packed);
            return;
        }

        var (first, last) = Share(_channels / Packed, worker, workers);
        for (var tile = 0; tile < _rows; tile += Tile)
        {
            for (var column = first; column < last; column++)
            {
                for (var row = tile; row < Math.Min(tile + Tile, _rows); row++) Visit(column * _rows + row, (long)row * _channels + column * Packed);
            }
        }
    }

    protected abstract void Visit(long at, long element);

    protected void Phase(CpuPool pool)
    {
        if (IsParallel) pool.Run(this);
        else Execute(0, 1);
    }
}

/// <summary>batch_norm or batch_norm_apply with relu and residual, then the signs, from y: it is positive, or NaN, exactly where z is.</summary>
internal sealed unsafe class BatchNormMaskWriter<T>(Node node, CpuKernel inner)
    : BatchNormMask<T>(inner, node.Inputs[0].Shape, NormKernels.BatchNormOf(node).ChannelsLast) where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly int _outputs = node.Outputs.Count;

    public override void Run(CpuPool pool)
    {
        Inner.Run(pool);
        Phase(pool);
    }

    protected override void Bound()
    {
        var inputs = new nint[InputCount];
        for (var i = 0; i < inputs.Length; i++) inputs[i] = (nint)In<byte>(i);
        var outputs = new nint[_outputs - 1];
        for (var i = 0; i < outputs.Length; i++) outputs[i] = (nint)Out<byte>(i);
        Inner.Bind(inputs, outputs, Workspace);
    }

    protected override void Visit(long at, long element)
    {
        var y = Out<T>(0) + element;
        Out<byte>(_outputs - 1)[at] = Packed == 8 && sizeof(T) == sizeof(float)
            ? (byte)~Vector256.LessThanOrEqual(Vector256.Load(y), Vector256<T>.Zero).ExtractMostSignificantBits()
            : Bits(y);
    }

    private byte Bits(T* y)
    {
        var bits = 0;
        for (var k = 0; k < Packed; k++)
        {
            if (!(y[k] <= T.Zero)) bits |= 1 << k;
        }

        return (byte)bits;
    }
}

/// <summary>dz = dy where the bit is set, else 0, then the gradient of batch_norm without activation from dz.</summary>
internal sealed unsafe class BatchNormMaskReader<T>(Node node, CpuKernel inner)
    : BatchNormMask<T>(inner, node.Inputs[1].Shape, ((BatchNormBackwardOp)node.Op).ChannelsLast) where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly int _outputs = node.Outputs.Count;

    public override void Run(CpuPool pool)
    {
        Phase(pool);
        Inner.Run(pool);
    }

    protected override void Bound()
    {
        var inputs = new nint[InputCount - 1];
        inputs[0] = (nint)Out<byte>(_outputs - 1);
        for (var i = 1; i < inputs.Length; i++) inputs[i] = (nint)In<byte>(i);
        var outputs = new nint[_outputs - 1];
        for (var i = 0; i < outputs.Length; i++) outputs[i] = (nint)Out<byte>(i);
        Inner.Bind(inputs, outputs, Workspace);
    }

    protected override void Visit(long at, long element)
    {
        var bits = In<byte>(InputCount - 1)[at];
        T* dy = In<T>(0) + element, dz = Out<T>(_outputs - 1) + element;
        for (var k = 0; k < Packed; k++) dz[k] = (bits >> k & 1) != 0 ? dy[k] : T.Zero;
    }
}
