using System.Numerics;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Maxout on x as [groups, pieces, after]: with after above 1 a register holds neighbouring places, else one group is walked
/// element by element. The backward pass finds the first maximum again.
/// </summary>
internal static class MaxoutKernels
{
    public static CpuKernel? Forward(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new Kernel<float>(node, (MaxoutOp)node.Op, false), () => new Kernel<double>(node, (MaxoutOp)node.Op, false));

    public static CpuKernel? Backward(Node node, int workers)
    {
        var op = new MaxoutOp(((MaxoutBackwardOp)node.Op).Pieces, ((MaxoutBackwardOp)node.Op).Dim);
        return CpuKernels.Typed(node.Outputs[0].DType, () => new Kernel<float>(node, op, true), () => new Kernel<double>(node, op, true));
    }

    private sealed unsafe class Kernel<T> : CpuKernel where T : unmanaged, IFloatingPointIeee754<T>
    {
        private readonly int _pieces;
        private readonly int _after;
        private readonly long _groups;
        private readonly bool _backward;

        public Kernel(Node node, MaxoutOp op, bool backward)
        {
            var shape = node.Inputs[backward ? 1 : 0].Shape;
            _pieces = op.Pieces;
            _after = (int)shape.Product(op.Dim + 1, shape.Rank);
            _groups = shape.Product(0, op.Dim + 1) / _pieces;
            _backward = backward;
        }

        protected override bool IsParallel => _groups * _pieces * _after >= 16384;

        public override void Execute(int worker, int workers)
        {
            var (start, end) = Share(_groups, worker, workers);
            for (var group = start; group < end; group++)
            {
                if (_after == 1) One(group);
                else Places(group);
            }
        }

        private void One(long group)
        {
            var x = In<T>(_backward ? 1 : 0) + group * _pieces;
            var best = 0;
            for (var j = 1; j < _pieces && !T.IsNaN(x[best]); j++)
            {
                if (x[j] > x[best] || T.IsNaN(x[j])) best = j;
            }

            if (!_backward)
            {
                Out<T>(0)[group] = x[best];
                return;
            }

            for (var j = 0; j < _pieces; j++) Out<T>(0)[group * _pieces + j] = j == best ? In<T>(0)[group] : T.Zero;
        }

        private void Places(long group)
        {
            var x = In<T>(_backward ? 1 : 0) + group * _pieces * _after;
            for (var i = 0; i < _after; i += Vector512<T>.Count)
            {
                var count = Math.Min(Vector512<T>.Count, _after - i);
                var best = Lanes.Load(x + i, count);
                var index = Vector512<T>.Zero;
                for (var j = 1; j < _pieces; j++)
                {
                    var next = Lanes.Load(x + (long)j * _after + i, count);
                    // Not "at most" is "larger, or one of them NaN"; a NaN that leads stays.
                    var wins = Vector512.AndNot(Vector512.Equals(best, best), Vector512.LessThanOrEqual(next, best));
                    best = Select(wins, next, best);
                    index = Select(wins, All<T>(j), index);
                }

                if (!_backward)
                {
                    Lanes.Store(Out<T>(0) + group * _after + i, count, best);
                    continue;
                }

                var dy = Lanes.Load(In<T>(0) + group * _after + i, count);
                for (var j = 0; j < _pieces; j++)
                    Lanes.Store(Out<T>(0) + (group * _pieces + j) * _after + i, count, dy & Vector512.Equals(index, All<T>(j)));
            }
        }
    }
}
