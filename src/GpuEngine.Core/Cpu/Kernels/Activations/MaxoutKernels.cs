using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Maxout on x as [groups, pieces, after]; a register holds neighbouring results. The forward pass stores which piece was the
/// first maximum, the backward pass reads that.
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
        private readonly long _after;
        private readonly long _results;
        private readonly bool _backward;
        private readonly bool _wide;

        public Kernel(Node node, MaxoutOp op, bool backward)
        {
            var index = (backward ? node.Inputs[1] : node.Outputs[1]).Type;
            _pieces = op.Pieces;
            _after = index.Shape.Product(op.Dim + 1, index.Shape.Rank);
            _results = index.Elements;
            _backward = backward;
            _wide = index.DType == DType.I32;
        }

        protected override bool IsParallel => _results * _pieces >= 16384;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void Execute(int worker, int workers)
        {
            // Registers do not cross from one group of channels to the next, unless a group has one place.
            var run = _after == 1 ? _results : _after;
            var (start, end) = Share(_results, worker, workers, Math.Min(run, 4096));
            for (var at = start; at < end;)
            {
                var (group, place) = (at / _after, at % _after);
                var count = (int)Math.Min(Vector512<T>.Count, Math.Min(end - at, _after == 1 ? end - at : _after - place));
                One(group * _pieces * _after + place, at, count);
                at += count;
            }
        }

        /// <summary>Neighbouring results from <paramref name="result"/> on; the first of their pieces lies at <paramref name="x"/>.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void One(long x, long result, int count)
        {
            if (_backward)
            {
                var dy = Lanes.Load(In<T>(0) + result, count);
                var place = LoadIndex(result, count);
                for (var j = 0; j < _pieces; j++) Store(Out<T>(0) + x + j * _after, count, dy & Vector512.Equals(place, All<T>(j)));
                return;
            }

            var from = In<T>(0) + x;
            var best = Load(from, count);
            var index = Vector512<T>.Zero;
            for (var j = 1; j < _pieces; j++)
            {
                var next = Load(from + j * _after, count);
                // Not "at most" is "larger, or one of them NaN"; a NaN that leads stays.
                var wins = Vector512.AndNot(Vector512.Equals(best, best), Vector512.LessThanOrEqual(next, best));
                best = Vector512.ConditionalSelect(wins, next, best);
                index = Vector512.ConditionalSelect(wins, All<T>(j), index);
            }

            Lanes.Store(Out<T>(0) + result, count, best);
            StoreIndex(result, count, index);
        }

        [SkipLocalsInit]
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private Vector512<T> LoadIndex(long result, int count)
        {
            var buffer = stackalloc T[Vector512<T>.Count];
            for (var i = 0; i < count; i++) buffer[i] = T.CreateTruncating(_wide ? In<int>(1)[result + i] : In<byte>(1)[result + i]);
            return Lanes.Load(buffer, count);
        }

        [SkipLocalsInit]
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void StoreIndex(long result, int count, Vector512<T> index)
        {
            var buffer = stackalloc T[Vector512<T>.Count];
            index.Store(buffer);
            for (var i = 0; i < count; i++)
            {
                if (_wide) Out<int>(1)[result + i] = int.CreateTruncating(buffer[i]);
                else Out<byte>(1)[result + i] = byte.CreateTruncating(buffer[i]);
            }
        }

        /// <summary>One piece of neighbouring results: neighbours in memory too, or, with one place per group, Pieces apart.</summary>
        [SkipLocalsInit]
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private Vector512<T> Load(T* address, int count)
        {
            if (_after > 1) return Lanes.Load(address, count);
            var buffer = stackalloc T[Vector512<T>.Count];
            nint step = _pieces;
            for (var i = 0; i < count; i++, address += step) buffer[i] = *address;
            return Lanes.Load(buffer, count);
        }

        [SkipLocalsInit]
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Store(T* address, int count, Vector512<T> value)
        {
            if (_after > 1)
            {
                Lanes.Store(address, count, value);
                return;
            }

            var buffer = stackalloc T[Vector512<T>.Count];
            value.Store(buffer);
            nint step = _pieces;
            for (var i = 0; i < count; i++, address += step) *address = buffer[i];
        }
    }
}
