using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>softmax and log_softmax, forward and backward; a line stays in the cache between its passes.</summary>
internal static class SoftmaxKernels
{
    public static CpuKernel? Forward(Node node, int workers)
    {
        var op = (SoftmaxOp)node.Op;
        var shape = node.Outputs[0].Shape;
        return CpuKernels.Typed(node.Outputs[0].DType, () => new ForwardKernel<float>(shape, op), () => new ForwardKernel<double>(shape, op));
    }

    public static CpuKernel? Backward(Node node, int workers)
    {
        var op = (SoftmaxBackwardOp)node.Op;
        var shape = node.Outputs[0].Shape;
        return CpuKernels.Typed(node.Outputs[0].DType, () => new BackwardKernel<float>(shape, op), () => new BackwardKernel<double>(shape, op));
    }

    private sealed unsafe class ForwardKernel<T>(Shape shape, SoftmaxOp op) : LineKernel<T>(shape, op.Dim)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        private readonly bool _log = op.Log;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Line(long line, long at)
        {
            var x = In<T>(0) + at;
            var y = Out<T>(0) + at;
            var max = Max(x);
            var sum = SumExp(x, max, _log ? null : y);
            if (_log)
            {
                var (shift, log) = (Vector512.Create(max), All<T>(Math.Log(sum)));
                var j = 0;
                for (; j <= Length - Vector512<T>.Count; j += Vector512<T>.Count) (Vector512.Load(x + j) - shift - log).Store(y + j);
                if (j < Length) Lanes.Store(y + j, Length - j, Lanes.Load(x + j, Length - j) - shift - log);
                return;
            }

            var scale = All<T>(1 / sum);
            var i = 0;
            for (; i <= Length - Vector512<T>.Count; i += Vector512<T>.Count) (Vector512.Load(y + i) * scale).Store(y + i);
            if (i < Length) Lanes.Store(y + i, Length - i, Lanes.Load(y + i, Length - i) * scale);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Columns(long line, long at, int count)
        {
            var x = In<T>(0) + at;
            var y = Out<T>(0) + at;
            var max = MaxColumns(x, count);
            var sum = SumExpColumns(x, max, count, _log ? null : y);
            if (_log)
            {
                var log = Log(sum);
                for (var i = 0; i < Length; i++) Lanes.Store(y + i * Inner, count, Lanes.Load(x + i * Inner, count) - max - log);
                return;
            }

            var scale = Vector512<T>.One / sum;
            for (var i = 0; i < Length; i++) Lanes.Store(y + i * Inner, count, Lanes.Load(y + i * Inner, count) * scale);
        }
    }

    private sealed unsafe class BackwardKernel<T>(Shape shape, SoftmaxBackwardOp op) : LineKernel<T>(shape, op.Dim)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        private const int SumBlock = 1024;
        private readonly bool _log = op.Log;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Line(long line, long at)
        {
            var dy = In<T>(0) + at;
            var y = In<T>(1) + at;
            var dx = Out<T>(0) + at;
            var total = 0.0;
            var whole = Length / Vector512<T>.Count * Vector512<T>.Count;
            if (whole < Length)
            {
                var tail = Lanes.Load(dy + whole, Length - whole);
                if (!_log) tail *= Lanes.Load(y + whole, Length - whole);
                total = double.CreateTruncating(Vector512.Sum(tail));
            }

            for (var block = 0; block < whole; block += SumBlock)
            {
                var sum = Vector512<T>.Zero;
                var end = Math.Min(block + SumBlock, whole);
                for (var j = block; j < end; j += Vector512<T>.Count)
                {
                    var g = Vector512.Load(dy + j);
                    sum += _log ? g : g * Vector512.Load(y + j);
                }

                total += double.CreateTruncating(Vector512.Sum(sum));
            }

            var inner = All<T>(total);
            for (var i = 0; i < whole; i += Vector512<T>.Count) Combine(Vector512.Load(dy + i), Vector512.Load(y + i), inner).Store(dx + i);
            if (whole == Length) return;
            var rest = Length - whole;
            Lanes.Store(dx + whole, rest, Combine(Lanes.Load(dy + whole, rest), Lanes.Load(y + whole, rest), All<T>(total)));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Columns(long line, long at, int count)
        {
            var dy = In<T>(0) + at;
            var y = In<T>(1) + at;
            var dx = Out<T>(0) + at;
            var total = Vector512<T>.Zero;
            for (var block = 0; block < Length; block += SumBlock)
            {
                var sum = Vector512<T>.Zero;
                for (var i = block; i < Math.Min(block + SumBlock, Length); i++)
                {
                    var g = Lanes.Load(dy + i * Inner, count);
                    sum += _log ? g : g * Lanes.Load(y + i * Inner, count);
                }

                total += sum;
            }

            for (var i = 0; i < Length; i++)
                Lanes.Store(dx + i * Inner, count, Combine(Lanes.Load(dy + i * Inner, count), Lanes.Load(y + i * Inner, count), total));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private Vector512<T> Combine(Vector512<T> dy, Vector512<T> y, Vector512<T> sum) => _log ? dy - Exp(y) * sum : y * (dy - sum);
    }
}
