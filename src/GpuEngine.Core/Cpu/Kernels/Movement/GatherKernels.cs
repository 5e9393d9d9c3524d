using System.Numerics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Gather and its adjoint along the last axis, and rows of a table. Additions happen in ascending order of position.</summary>
internal static class GatherKernels
{
    public static CpuKernel? Gather(Node node, int workers) => Make(node, (w, t) => new GatherLast(node, w, t), (w, t) => new GatherLast(node, w, t));

    public static CpuKernel? ScatterAdd(Node node, int workers) => Make(node, (w, _) => new ScatterLast<float>(node, w), (w, _) => new ScatterLast<double>(node, w));

    public static CpuKernel? GatherRows(Node node, int workers) => Make(node, (w, t) => new RowsFrom(node, w, t), (w, t) => new RowsFrom(node, w, t));

    public static CpuKernel? ScatterRows(Node node, int workers) => Make(node, (w, _) => new RowsInto<float>(node, w), (w, _) => new RowsInto<double>(node, w));

    private static CpuKernel? Make(Node node, Func<bool, int, CpuKernel> single, Func<bool, int, CpuKernel> dual)
    {
        var wide = node.Inputs[1].DType == DType.I64;
        return CpuKernels.Typed(node.Inputs[0].DType, () => single(wide, 4), () => dual(wide, 8));
    }

    /// <summary>An index tensor of i32 or i64.</summary>
    private static unsafe long Index(nint table, long at, bool wide) => wide ? ((long*)table)[at] : ((int*)table)[at];

    private sealed unsafe class GatherLast(Node node, bool wide, int size) : CpuKernel
    {
        private readonly int _length = node.Inputs[0].Shape[^1];
        private readonly int _width = node.Inputs[1].Shape[^1];
        private readonly long _rows = node.Inputs[1].Shape.Product(0, node.Inputs[1].Rank - 1);

        protected override bool IsParallel => _rows * _width >= 16384;

        public override void Execute(int worker, int workers)
        {
            var (start, end) = Share(_rows, worker, workers);
            for (var row = start; row < end; row++)
            {
                for (var j = 0; j < _width; j++)
                {
                    var i = Index((nint)In<byte>(1), row * _width + j, wide);
                    var inside = (ulong)i < (ulong)_length;
                    if (size == 4) Out<uint>(0)[row * _width + j] = inside ? In<uint>(0)[row * _length + i] : 0;
                    else Out<ulong>(0)[row * _width + j] = inside ? In<ulong>(0)[row * _length + i] : 0;
                }
            }
        }
    }

    private sealed unsafe class ScatterLast<T>(Node node, bool wide) : CpuKernel where T : unmanaged, INumber<T>
    {
        private readonly int _length = node.Outputs[0].Shape[^1];
        private readonly int _width = node.Inputs[1].Shape[^1];
        private readonly long _rows = node.Inputs[1].Shape.Product(0, node.Inputs[1].Rank - 1);

        protected override bool IsParallel => _rows * Math.Max(_width, _length) >= 16384;

        public override void Execute(int worker, int workers)
        {
            var (start, end) = Share(_rows, worker, workers);
            for (var row = start; row < end; row++)
            {
                var y = Out<T>(0) + row * _length;
                new Span<T>(y, _length).Clear();
                for (var j = 0; j < _width; j++)
                {
                    var i = Index((nint)In<byte>(1), row * _width + j, wide);
                    if ((ulong)i < (ulong)_length) y[i] += In<T>(0)[row * _width + j];
                }
            }
        }
    }

    private sealed unsafe class RowsFrom(Node node, bool wide, int size) : CpuKernel
    {
        private readonly long _rows = node.Inputs[1].Type.Elements;
        private readonly int _table = node.Inputs[0].Shape[0];
        private readonly long _bytes = (long)node.Inputs[0].Shape[1] * size;

        public override void Execute(int worker, int workers)
        {
            for (var r = 0L; r < _rows; r++)
            {
                var i = Index((nint)In<byte>(1), r, wide);
                var target = new Span<byte>(Out<byte>(0) + r * _bytes, (int)_bytes);
                if ((ulong)i < (ulong)_table) new ReadOnlySpan<byte>(In<byte>(0) + i * _bytes, (int)_bytes).CopyTo(target);
                else target.Clear();
            }
        }
    }

    private sealed unsafe class RowsInto<T>(Node node, bool wide) : CpuKernel where T : unmanaged, INumber<T>
    {
        private readonly long _rows = node.Inputs[1].Type.Elements;
        private readonly int _table = node.Outputs[0].Shape[0];
        private readonly int _width = node.Outputs[0].Shape[1];

        public override void Execute(int worker, int workers)
        {
            new Span<T>(Out<T>(0), checked(_table * _width)).Clear();
            for (var r = 0L; r < _rows; r++)
            {
                var i = Index((nint)In<byte>(1), r, wide);
                if ((ulong)i >= (ulong)_table) continue;
                SumOf<T>.Accumulate(new ReadOnlySpan<T>(In<T>(0) + r * _width, _width), new Span<T>(Out<T>(0) + i * _width, _width));
            }
        }
    }
}
