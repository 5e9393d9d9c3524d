using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// prelu and srelu, forward and backward. x is taken as [rows, channels, inner]. Where inner is 1 a register holds neighbouring
/// channels, else places of one channel. Work is cut into items by the shape alone, each item writes its sums of parameter
/// gradients to the workspace, and those are added in ascending order: the bits do not depend on the number of workers.
/// </summary>
internal static class ChannelKernels
{
    public static CpuKernel? PRelu(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new Forward<float, PReluFunctor<float>>(node), () => new Forward<double, PReluFunctor<double>>(node));

    public static CpuKernel? PReluBackward(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new Backward<float, PReluFunctor<float>>(node), () => new Backward<double, PReluFunctor<double>>(node));

    public static CpuKernel? SRelu(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new Forward<float, SReluFunctor<float>>(node), () => new Forward<double, SReluFunctor<double>>(node));

    public static CpuKernel? SReluBackward(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new Backward<float, SReluFunctor<float>>(node), () => new Backward<double, SReluFunctor<double>>(node));

    /// <summary>How a tensor with one set of numbers per channel is walked.</summary>
    private abstract unsafe class Walk<T, TFunctor> : CpuKernel where T : unmanaged where TFunctor : struct, IChannelFunctor<T>
    {
        /// <summary>Elements of a plane, or of a block of rows, that make one item.</summary>
        private const int Piece = 8192;

        private readonly int _first;

        protected Walk(Node node, int x)
        {
            _first = x + 1;
            var shape = node.Inputs[x].Shape;
            Elements = shape.Elements;
            Channels = node.Inputs[x + 1].Type.Elements;
            Inner = Channels == 1 ? Elements : shape.Rank > 2 ? shape.Product(2, shape.Rank) : 1;
            Planes = Elements == 0 ? 0 : Elements / Inner;
            IsByRow = Inner == 1 && Channels > 1;
            Items = IsByRow
                ? (Planes / Channels + RowsPerItem - 1) / RowsPerItem
                : Planes * ((Inner + Piece - 1) / Piece);
        }

        protected long Elements { get; }

        protected long Channels { get; }

        protected long Inner { get; }

        protected long Planes { get; }

        /// <summary>A register holds neighbouring channels.</summary>
        protected bool IsByRow { get; }

        /// <summary>The pieces of work, cut by the shape alone.</summary>
        protected long Items { get; }

        protected int RowsPerItem => (int)Math.Max(1, Piece / Channels);

        protected long ItemsPerPlane => (Inner + Piece - 1) / Piece;

        protected override bool IsParallel => Elements >= 16384;

        public override void Execute(int worker, int workers)
        {
            var (start, end) = Share(Items, worker, workers);
            for (var item = start; item < end; item++)
            {
                if (IsByRow)
                {
                    var row = item * RowsPerItem;
                    Rows(item, row, Math.Min(row + RowsPerItem, Planes / Channels));
                    continue;
                }

                var (plane, from) = (item / ItemsPerPlane, item % ItemsPerPlane * Piece);
                Plane(item, plane % Channels, plane * Inner + from, Math.Min(Piece, Inner - from));
            }
        }

        /// <summary>Elements [at, at + count), all of one channel.</summary>
        protected abstract void Plane(long item, long channel, long at, long count);

        /// <summary>Whole rows of channels.</summary>
        protected abstract void Rows(long item, long start, long end);

        /// <summary>A channel's numbers in every lane.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected ChannelNumbers<T> Broadcast(long channel)
        {
            ChannelNumbers<T> p = default;
            p.A = Vector512.Create(In<T>(_first)[channel]);
            if (TFunctor.Count == 1) return p;
            p.B = Vector512.Create(In<T>(_first + 1)[channel]);
            p.C = Vector512.Create(In<T>(_first + 2)[channel]);
            p.D = Vector512.Create(In<T>(_first + 3)[channel]);
            return p;
        }

        /// <summary>The numbers of neighbouring channels.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected ChannelNumbers<T> Neighbours(long channel, int count)
        {
            ChannelNumbers<T> p = default;
            p.A = Lanes.Load(In<T>(_first) + channel, count);
            if (TFunctor.Count == 1) return p;
            p.B = Lanes.Load(In<T>(_first + 1) + channel, count);
            p.C = Lanes.Load(In<T>(_first + 2) + channel, count);
            p.D = Lanes.Load(In<T>(_first + 3) + channel, count);
            return p;
        }
    }

    private sealed unsafe class Forward<T, TFunctor>(Node node) : Walk<T, TFunctor>(node, 0) where T : unmanaged where TFunctor : struct, IChannelFunctor<T>
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Plane(long item, long channel, long at, long count)
        {
            var p = Broadcast(channel);
            var x = In<T>(0) + at;
            var y = Out<T>(0) + at;
            var i = 0L;
            for (; i <= count - Vector512<T>.Count; i += Vector512<T>.Count) TFunctor.Forward(Vector512.Load(x + i), p).Store(y + i);
            if (i < count) Lanes.Store(y + i, (int)(count - i), TFunctor.Forward(Lanes.Load(x + i, (int)(count - i)), p));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Rows(long item, long start, long end)
        {
            var whole = Channels / Vector512<T>.Count * Vector512<T>.Count;
            for (var row = start; row < end; row++)
            {
                var x = In<T>(0) + row * Channels;
                var y = Out<T>(0) + row * Channels;
                for (var c = 0L; c < whole; c += Vector512<T>.Count)
                    TFunctor.Forward(Vector512.Load(x + c), Neighbours(c, Vector512<T>.Count)).Store(y + c);
                if (whole == Channels) continue;
                var rest = (int)(Channels - whole);
                Lanes.Store(y + whole, rest, TFunctor.Forward(Lanes.Load(x + whole, rest), Neighbours(whole, rest)));
            }
        }
    }

    private sealed unsafe class Backward<T, TFunctor>(Node node) : Walk<T, TFunctor>(node, 1)
        where T : unmanaged, INumber<T> where TFunctor : struct, IChannelFunctor<T>
    {
        /// <summary>Per item: Count sums (by plane), or Count rows of Channels sums (by row).</summary>
        private long SumsPerItem => TFunctor.Count * (IsByRow ? Channels : 1);

        public override long WorkspaceBytes => Items * SumsPerItem * sizeof(T);

        public override void Run(CpuPool pool)
        {
            base.Run(pool);
            var sums = (T*)Workspace;
            for (var k = 0; k < TFunctor.Count; k++)
            {
                for (var c = 0L; c < Channels; c++)
                {
                    var total = 0.0;
                    if (IsByRow)
                    {
                        for (var item = 0L; item < Items; item++) total += double.CreateTruncating(sums[item * SumsPerItem + k * Channels + c]);
                    }
                    else
                    {
                        for (var plane = c; plane < Planes; plane += Channels)
                        {
                            for (var i = 0L; i < ItemsPerPlane; i++) total += double.CreateTruncating(sums[(plane * ItemsPerPlane + i) * SumsPerItem + k]);
                        }
                    }

                    Out<T>(1 + k)[c] = T.CreateTruncating(total);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Plane(long item, long channel, long at, long count)
        {
            var dy = In<T>(0) + at;
            var x = In<T>(1) + at;
            var dx = Out<T>(0) + at;
            var whole = count / Vector512<T>.Count * Vector512<T>.Count;
            ChannelNumbers<T> total = default;
            if (whole < count)
            {
                // The lanes beyond the end have dy = 0 and add nothing.
                var rest = (int)(count - whole);
                var (g0, x0) = (Lanes.Load(dy + whole, rest), Lanes.Load(x + whole, rest));
                Lanes.Store(dx + whole, rest, TFunctor.Backward(g0, x0, Broadcast(channel), out total));
            }

            var p = Broadcast(channel);
            var (a, b, c, d) = (total.A, total.B, total.C, total.D);
            for (var i = 0L; i < whole; i += Vector512<T>.Count)
            {
                TFunctor.Backward(Vector512.Load(dy + i), Vector512.Load(x + i), p, out var g).Store(dx + i);
                a += g.A;
                if (TFunctor.Count == 1) continue;
                b += g.B;
                c += g.C;
                d += g.D;
            }

            var sums = (T*)Workspace + item * SumsPerItem;
            sums[0] = Vector512.Sum(a);
            if (TFunctor.Count == 1) return;
            sums[1] = Vector512.Sum(b);
            sums[2] = Vector512.Sum(c);
            sums[3] = Vector512.Sum(d);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Rows(long item, long start, long end)
        {
            var sums = (T*)Workspace + item * SumsPerItem;
            new Span<T>(sums, (int)SumsPerItem).Clear();
            var whole = Channels / Vector512<T>.Count * Vector512<T>.Count;
            for (var row = start; row < end; row++)
            {
                var at = row * Channels;
                for (var c = 0L; c < whole; c += Vector512<T>.Count)
                {
                    var p = Neighbours(c, Vector512<T>.Count);
                    TFunctor.Backward(Vector512.Load(In<T>(0) + at + c), Vector512.Load(In<T>(1) + at + c), p, out var g).Store(Out<T>(0) + at + c);
                    Add(sums + c, Vector512<T>.Count, g);
                }

                if (whole == Channels) continue;
                var rest = (int)(Channels - whole);
                at += whole;
                var dx = TFunctor.Backward(Lanes.Load(In<T>(0) + at, rest), Lanes.Load(In<T>(1) + at, rest), Neighbours(whole, rest), out var last);
                Lanes.Store(Out<T>(0) + at, rest, dx);
                Add(sums + whole, rest, last);
            }
        }

        /// <summary>Adds the contributions of neighbouring channels to their sums.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private void Add(T* sums, int count, in ChannelNumbers<T> g)
        {
            Lanes.Store(sums, count, Lanes.Load(sums, count) + g.A);
            if (TFunctor.Count == 1) return;
            Lanes.Store(sums + Channels, count, Lanes.Load(sums + Channels, count) + g.B);
            Lanes.Store(sums + 2 * Channels, count, Lanes.Load(sums + 2 * Channels, count) + g.C);
            Lanes.Store(sums + 3 * Channels, count, Lanes.Load(sums + 3 * Channels, count) + g.D);
        }
    }
}
