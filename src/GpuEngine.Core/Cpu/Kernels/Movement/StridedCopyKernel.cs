using System.Runtime.CompilerServices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Copies a box of elements from one strided layout to another: copy, permute, slice and pad are all this, for elements of
/// 1, 2, 4 or 8 bytes.
/// </summary>
internal sealed unsafe class StridedCopyKernel : CpuKernel
{
    private readonly int[] _extents;
    private readonly long[] _from;
    private readonly long[] _to;
    private readonly long _fromStart;
    private readonly long _toStart;
    private readonly int _size;
    private readonly long _rows;
    private readonly long _clearBytes;

    private StridedCopyKernel(int size, IReadOnlyList<int> extents, IReadOnlyList<long> from, IReadOnlyList<long> to, long fromStart = 0, long toStart = 0, long clearBytes = 0)
    {
        var (e, f, t) = (new List<int>(), new List<long>(), new List<long>());
        for (var axis = 0; axis < extents.Count; axis++)
        {
            if (extents[axis] == 1) continue;
            if (e.Count > 0 && f[^1] == from[axis] * extents[axis] && t[^1] == to[axis] * extents[axis])
            {
                e[^1] *= extents[axis];
                (f[^1], t[^1]) = (from[axis], to[axis]);
            }
            else
            {
                e.Add(extents[axis]);
                f.Add(from[axis]);
                t.Add(to[axis]);
            }
        }

        if (e.Count == 0)
        {
            e.Add(1);
            f.Add(1);
            t.Add(1);
        }

        (_extents, _from, _to, _size) = ([.. e], [.. f], [.. t], size);
        (_fromStart, _toStart, _clearBytes) = (fromStart, toStart, clearBytes);
        _rows = 1;
        for (var axis = 0; axis < _extents.Length - 1; axis++) _rows *= _extents[axis];
    }

    protected override bool IsParallel => _rows > 1 && _rows * _extents[^1] >= 16384;

    public static StridedCopyKernel Copy(Node node)
    {
        var type = node.Inputs[0].Type;
        var strides = type.Shape.Strides();
        return new StridedCopyKernel(type.DType.Size(), type.Shape.ToArray(), strides, strides);
    }

    public static StridedCopyKernel Permute(Node node)
    {
        var order = ((PermuteOp)node.Op).Order;
        var (x, y) = (node.Inputs[0].Type, node.Outputs[0].Type);
        var strides = x.Shape.Strides();
        return new StridedCopyKernel(x.DType.Size(), y.Shape.ToArray(), [.. order.Select(a => strides[a])], y.Shape.Strides());
    }

    public static StridedCopyKernel Slice(Node node)
    {
        var op = (SliceOp)node.Op;
        var (x, y) = (node.Inputs[0].Type, node.Outputs[0].Type);
        var strides = x.Shape.Strides();
        return new StridedCopyKernel(
            x.DType.Size(), y.Shape.ToArray(), [.. strides.Select((s, i) => s * op.Steps[i])], y.Shape.Strides(),
            fromStart: strides.Select((s, i) => s * op.Starts[i]).Sum());
    }

    public static StridedCopyKernel Pad(Node node)
    {
        var op = (PadOp)node.Op;
        var (x, y) = (node.Inputs[0].Type, node.Outputs[0].Type);
        var strides = y.Shape.Strides();
        return new StridedCopyKernel(
            x.DType.Size(), x.Shape.ToArray(), x.Shape.Strides(), [.. strides.Select((s, i) => s * (op.Interior[i] + 1))],
            toStart: strides.Select((s, i) => s * op.Low[i]).Sum(), clearBytes: y.Bytes);
    }

    public override void Run(Threading.CpuPool pool)
    {
        if (_clearBytes > 0) Unsafe.InitBlockUnaligned(Out<byte>(0), 0, checked((uint)_clearBytes));
        base.Run(pool);
    }

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_rows, worker, workers);
        var from = In<byte>(0) + _fromStart * _size;
        var to = Out<byte>(0) + _toStart * _size;
        if (_extents.Contains(0)) return;
        switch (_size)
        {
            case 8: Rows((ulong*)from, (ulong*)to, start, end); break;
            case 4: Rows((uint*)from, (uint*)to, start, end); break;
            case 2: Rows((ushort*)from, (ushort*)to, start, end); break;
            default: Rows(from, to, start, end); break;
        }
    }

    private void Rows<T>(T* from, T* to, long start, long end) where T : unmanaged
    {
        var inner = _extents.Length - 1;
        var (n, f, t) = (_extents[inner], _from[inner], _to[inner]);
        for (var row = start; row < end; row++)
        {
            var source = from;
            var target = to;
            var rest = row;
            for (var axis = inner - 1; axis >= 0; axis--)
            {
                var i = rest % _extents[axis];
                rest /= _extents[axis];
                source += i * _from[axis];
                target += i * _to[axis];
            }

            if (f == 1 && t == 1)
            {
                new ReadOnlySpan<T>(source, n).CopyTo(new Span<T>(target, n));
                continue;
            }

            for (var i = 0L; i < n; i++) target[i * t] = source[i * f];
        }
    }
}
