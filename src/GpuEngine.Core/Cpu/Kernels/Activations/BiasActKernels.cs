using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// bias_act and its gradients in one pass each. Work is cut into items, contiguous ranges, by the shape alone: rows where channels
/// lie side by side, else pieces of planes, or of the whole tensor where nothing belongs to a channel. The random words of a chunk are drawn
/// into the first-level cache. Items' sums are added in ascending order: the bits do not depend on the number of workers.
/// </summary>
internal static class BiasActKernels
{
    public static CpuKernel? Forward(Node node, int workers)
    {
        var op = (BiasActOp)node.Op;
        return op.Counts ? null : Create(node, op.Activation);
    }

    public static CpuKernel? Backward(Node node, int workers)
    {
        var op = (BiasActBackwardOp)node.Op;
        return op.Adds ? null : Create(node, op.Activation);
    }

    private static CpuKernel? Create(Node node, Activation? activation) => node.Outputs[0].DType switch
    {
        DType.F32 => ActivationFunctors.Visit(activation, new Maker<float>(node), out var kernel) ? kernel : null,
        DType.F64 => ActivationFunctors.Visit(activation, new Maker<double>(node), out var kernel) ? kernel : null,
        _ => null,
    };

    private sealed class Maker<T>(Node node) : IActivationVisitor<T, CpuKernel> where T : unmanaged, INumber<T>
    {
        public CpuKernel Visit<TFunctor>(TFunctor functor) where TFunctor : struct, IActivationFunctor<T> => node.Op is BiasActOp
            ? new ForwardKernel<T, TFunctor>(node, functor)
            : new BackwardKernel<T, TFunctor>(node, functor);
    }

    /// <summary>How a tensor is walked: items, in them chunks, in them runs of neighbours that share a channel or a row.</summary>
    private abstract unsafe class Walk<T> : CpuKernel where T : unmanaged, INumber<T>
    {
        private const int Piece = 8192;
        private const int Chunk = 2048;
        private readonly DropoutOp? _dropout;
        private readonly uint _threshold;
        private readonly T _scale;

        protected Walk(Node node, int? dim, DropoutOp? dropout, double scale)
        {
            var shape = node.Inputs[0].Shape;
            Elements = shape.Elements;
            Channels = dim is { } axis ? shape[axis] : 1;
            Inner = dim is { } other ? shape.Product(other + 1, shape.Rank) : Elements;
            IsByRow = Inner == 1 && Channels > 1;
            _dropout = dropout;
            _threshold = (uint)((dropout?.Threshold ?? 0) * (1 << 24));
            _scale = T.CreateTruncating(scale);
        }

        protected long Elements { get; }

        protected long Channels { get; }

        protected long Inner { get; }

        /// <summary>A register holds neighbouring channels.</summary>
        protected bool IsByRow { get; }

        protected long Items => Elements == 0 ? 0 : IsByRow ? (Elements + ItemElements - 1) / ItemElements : Elements / Inner * ItemsPerPlane;

        protected long ItemsPerPlane => (Inner + Piece - 1) / Piece;

        /// <summary>Where the generator's state stands among the inputs; looked at with dropout only.</summary>
        protected abstract int State { get; }

        protected override bool IsParallel => Elements >= 16384;

        private long ItemElements => Math.Max(1, Piece / Channels) * Channels;

        [SkipLocalsInit]
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void Execute(int worker, int workers)
        {
            var words = stackalloc uint[Chunk + Vector512<uint>.Count];
            var (seed, offset) = _dropout is null ? (0UL, 0u) : ((ulong)In<long>(State)[0], (uint)In<long>(State)[1]);
            var (start, end) = Share(Items, worker, workers);
            for (var item = start; item < end; item++)
            {
                var plane = item / ItemsPerPlane;
                var first = IsByRow ? item * ItemElements : plane * Inner + item % ItemsPerPlane * Piece;
                var last = IsByRow ? Math.Min(first + ItemElements, Elements) : Math.Min(first + Piece, (plane + 1) * Inner);
                Begin(item);
                for (var at = first; at < last;)
                {
                    var n = (int)Math.Min(Chunk, last - at);
                    if (_dropout is not null)
                    {
                        Philox.FillBits(words, n, seed, (uint)_dropout.Stream, offset, at);
                        // A tail is compared as a whole register too.
                        new Span<uint>(words + n, Vector512<uint>.Count).Clear();
                    }

                    for (var done = 0; done < n;)
                    {
                        var channel = IsByRow ? (at + done) % Channels : plane % Channels;
                        var run = IsByRow ? (int)Math.Min(Channels - channel, n - done) : n;
                        Run(item, at + done, channel, run, words + done);
                        done += run;
                    }

                    at += n;
                }
            }
        }

        protected virtual void Begin(long item)
        {
        }

        /// <summary>Neighbours from element <paramref name="at"/> on; the first belongs to the channel, by row the next to the next.</summary>
        protected abstract void Run(long item, long at, long channel, int count, uint* words);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected Vector512<T> Drop(Vector512<T> v, uint* words) => _dropout is null ? v * _scale : v * _scale & DropoutMask.Kept<T>(words, _threshold);

        /// <summary>The biases of neighbours, one in every lane or one each.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected Vector512<T> Biases(T* bias, long channel, int i, int count) =>
            IsByRow ? Lanes.Load(bias + channel + i, count) : Vector512.Create(bias[channel]);
    }

    private sealed unsafe class ForwardKernel<T, TFunctor>(Node node, TFunctor functor)
        : Walk<T>(node, ((BiasActOp)node.Op).Bias ? ((BiasActOp)node.Op).Dim : null, ((BiasActOp)node.Op).Dropout, ((BiasActOp)node.Op).Dropout?.Scale ?? 1)
        where T : unmanaged, INumber<T> where TFunctor : struct, IActivationFunctor<T>
    {
        private readonly bool _bias = ((BiasActOp)node.Op).Bias;
        private readonly bool _residual = ((BiasActOp)node.Op).Residual;

        protected override int State => InputCount - 1;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Run(long item, long at, long channel, int count, uint* words)
        {
            var f = functor;
            var x = In<T>(0) + at;
            var y = Out<T>(0) + at;
            for (var i = 0; i < count; i += Vector512<T>.Count)
            {
                var n = count - i;
                var v = Lanes.Load(x + i, n);
                if (_bias) v += Biases(In<T>(1), channel, i, n);
                v = Drop(f.Forward(v), words + i);
                if (_residual) v += Lanes.Load(In<T>(_bias ? 2 : 1) + at + i, n);
                Lanes.Store(y + i, n, v);
            }
        }
    }

    private sealed unsafe class BackwardKernel<T, TFunctor>(Node node, TFunctor functor)
        : Walk<T>(
            node, ((BiasActBackwardOp)node.Op).Bias ? ((BiasActBackwardOp)node.Op).Dim : null,
            ((BiasActBackwardOp)node.Op).DrawsMask ? ((BiasActBackwardOp)node.Op).Dropout : null, ((BiasActBackwardOp)node.Op).Scale)
        where T : unmanaged, INumber<T> where TFunctor : struct, IActivationFunctor<T>
    {
        private readonly bool _activation = ((BiasActBackwardOp)node.Op).Activation is not null;
        private readonly bool _addsBias = ((BiasActBackwardOp)node.Op).AddsBias;
        private readonly bool _sums = ((BiasActBackwardOp)node.Op).Bias;

        public override long WorkspaceBytes => _sums ? Items * SumsPerItem * sizeof(T) : 0;

        protected override int State => InputCount - 1;

        private long SumsPerItem => IsByRow ? Channels : 1;

        public override void Run(CpuPool pool)
        {
            base.Run(pool);
            if (!_sums) return;
            var sums = (T*)Workspace;
            for (var c = 0L; c < Channels; c++)
            {
                var total = 0.0;
                if (IsByRow)
                {
                    for (var item = 0L; item < Items; item++) total += double.CreateTruncating(sums[item * Channels + c]);
                }
                else
                {
                    for (var plane = c; plane * Inner < Elements; plane += Channels)
                    {
                        for (var i = 0L; i < ItemsPerPlane; i++) total += double.CreateTruncating(sums[plane * ItemsPerPlane + i]);
                    }
                }

                Out<T>(1)[c] = T.CreateTruncating(total);
            }
        }

        protected override void Begin(long item)
        {
            if (_sums) new Span<T>((T*)Workspace + item * SumsPerItem, (int)SumsPerItem).Clear();
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Run(long item, long at, long channel, int count, uint* words)
        {
            var f = functor;
            var sums = (T*)Workspace + item * SumsPerItem;
            var total = Vector512<T>.Zero;
            for (var i = 0; i < count; i += Vector512<T>.Count)
            {
                var n = count - i;
                var g = Drop(Lanes.Load(In<T>(0) + at + i, n), words + i);
                if (_activation)
                {
                    var value = Lanes.Load(In<T>(1) + at + i, n);
                    if (_addsBias) value += Biases(In<T>(2), channel, i, n);
                    g *= f.Derivative(value);
                }

                Lanes.Store(Out<T>(0) + at + i, n, g);
                if (!_sums) continue;
                if (IsByRow) Lanes.Store(sums + channel + i, n, Lanes.Load(sums + channel + i, n) + g);
                else total += g;
            }

            if (_sums && !IsByRow) sums[0] += Vector512.Sum(total);
        }
    }
}
