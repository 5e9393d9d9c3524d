using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>An element-wise loss on registers.</summary>
internal interface ILossFunctor<T> where T : unmanaged
{
    Vector512<T> Loss(Vector512<T> x, Vector512<T> target);

    /// <summary>d loss / dx.</summary>
    Vector512<T> Derivative(Vector512<T> x, Vector512<T> target);
}

internal readonly struct SquaredError<T> : ILossFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Loss(Vector512<T> x, Vector512<T> target) => (x - target) * (x - target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x, Vector512<T> target) => All<T>(2) * (x - target);
}

internal readonly struct AbsoluteError<T> : ILossFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Loss(Vector512<T> x, Vector512<T> target) => Vector512.Abs(x - target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x, Vector512<T> target)
    {
        var d = x - target;
        var up = Vector512.ConditionalSelect(Vector512.GreaterThan(d, Vector512<T>.Zero), Vector512<T>.One, d);
        return Vector512.ConditionalSelect(Vector512.LessThan(d, Vector512<T>.Zero), All<T>(-1), up);
    }
}

internal readonly struct HuberError<T>(HuberLoss op) : ILossFunctor<T> where T : unmanaged
{
    private readonly T _delta = Scalar<T>(op.Delta);
    private readonly T _half = Scalar<T>(0.5 * op.Delta);
    private readonly T _scale = Scalar<T>(op.Scale);
    private readonly T _slope = Scalar<T>(op.Delta * op.Scale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Loss(Vector512<T> x, Vector512<T> target)
    {
        var d = x - target;
        var size = Vector512.Abs(d);
        return Vector512.ConditionalSelect(
            Vector512.LessThan(size, Vector512.Create(_delta)), d * d * (All<T>(0.5) * Vector512.Create(_scale)), (size - Vector512.Create(_half)) * Vector512.Create(_slope));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x, Vector512<T> target)
    {
        var delta = Vector512.Create(_delta);
        return Vector512.MinNative(delta, Vector512.MaxNative(-delta, x - target)) * Vector512.Create(_scale);
    }
}

internal readonly struct BinaryCrossEntropy<T> : ILossFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Loss(Vector512<T> x, Vector512<T> target) => (Vector512<T>.One - target) * x + Softplus(-x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x, Vector512<T> target) => Sigmoid(x, out _) - target;
}

/// <summary>
/// Element-wise losses in one pass. A reduced loss is summed in pieces of fixed length, each in its own double, and the pieces in
/// ascending order.
/// </summary>
internal static class PointwiseLossKernels
{
    private const int Piece = 4096;

    public static void Register()
    {
        CpuKernels.Register<MseLoss>(Create);
        CpuKernels.Register<L1Loss>(Create);
        CpuKernels.Register<HuberLoss>(Create);
        CpuKernels.Register<BinaryCrossEntropyWithLogits>(Create);
        CpuKernels.Register<PointwiseLossBackwardOp>(Create);
    }

    private static CpuKernel? Create(Node node, int workers) => node.Outputs[0].DType switch
    {
        DType.F32 => Create<float>(node),
        DType.F64 => Create<double>(node),
        _ => null,
    };

    private static CpuKernel? Create<T>(Node node) where T : unmanaged, INumber<T> =>
        (node.Op is PointwiseLossBackwardOp backward ? backward.Of : (PointwiseLoss)node.Op) switch
        {
            MseLoss => Create<T, SquaredError<T>>(node, default),
            L1Loss => Create<T, AbsoluteError<T>>(node, default),
            HuberLoss huber => Create<T, HuberError<T>>(node, new HuberError<T>(huber)),
            BinaryCrossEntropyWithLogits => Create<T, BinaryCrossEntropy<T>>(node, default),
            _ => null,
        };

    private static CpuKernel Create<T, TFunctor>(Node node, TFunctor functor) where T : unmanaged, INumber<T> where TFunctor : struct, ILossFunctor<T> =>
        node.Op is PointwiseLossBackwardOp backward
            ? new BackwardKernel<T, TFunctor>(node, backward.Of.Reduction, functor)
            : new ForwardKernel<T, TFunctor>(node, ((PointwiseLoss)node.Op).Reduction, functor);

    private sealed unsafe class ForwardKernel<T, TFunctor>(Node node, Reduction reduction, TFunctor functor) : CpuKernel
        where T : unmanaged, INumber<T> where TFunctor : struct, ILossFunctor<T>
    {
        private readonly long _elements = node.Inputs[0].Type.Elements;

        public override long WorkspaceBytes => reduction == Reduction.None ? 0 : Pieces * sizeof(double);

        protected override bool IsParallel => _elements >= 16384;

        private long Pieces => (_elements + Piece - 1) / Piece;

        public override void Run(CpuPool pool)
        {
            base.Run(pool);
            if (reduction == Reduction.None) return;
            var total = 0.0;
            for (var i = 0L; i < Pieces; i++) total += ((double*)Workspace)[i];
            Out<T>(0)[0] = T.CreateTruncating(reduction == Reduction.Mean ? total / _elements : total);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void Execute(int worker, int workers)
        {
            var f = functor;
            var (start, end) = Share(Pieces, worker, workers);
            for (var piece = start; piece < end; piece++)
            {
                var x = In<T>(0) + piece * Piece;
                var target = In<T>(1) + piece * Piece;
                var n = (int)Math.Min(Piece, _elements - piece * Piece);
                if (reduction == Reduction.None)
                {
                    var y = Out<T>(0) + piece * Piece;
                    var j = 0;
                    for (; j <= n - Vector512<T>.Count; j += Vector512<T>.Count) f.Loss(Vector512.Load(x + j), Vector512.Load(target + j)).Store(y + j);
                    if (j < n) Lanes.Store(y + j, n - j, f.Loss(Lanes.Load(x + j, n - j), Lanes.Load(target + j, n - j)));
                    continue;
                }

                // The tail first: a sum that is live across a call is not kept in a register.
                var whole = n / Vector512<T>.Count * Vector512<T>.Count;
                var sum = Vector512<T>.Zero;
                if (whole < n) sum = Lanes.Keep(f.Loss(Lanes.Load(x + whole, n - whole), Lanes.Load(target + whole, n - whole)), n - whole);
                for (var i = 0; i < whole; i += Vector512<T>.Count) sum += f.Loss(Vector512.Load(x + i), Vector512.Load(target + i));
                ((double*)Workspace)[piece] = double.CreateTruncating(Vector512.Sum(sum));
            }
        }
    }

    private sealed unsafe class BackwardKernel<T, TFunctor>(Node node, Reduction reduction, TFunctor functor) : CpuKernel
        where T : unmanaged, INumber<T> where TFunctor : struct, ILossFunctor<T>
    {
        private readonly long _elements = node.Inputs[1].Type.Elements;

        protected override bool IsParallel => _elements >= 16384;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void Execute(int worker, int workers)
        {
            var f = functor;
            var (start, end) = Share(_elements, worker, workers, Lanes.Grain);
            var g = In<T>(0);
            var each = reduction == Reduction.None ? default : All<T>(double.CreateTruncating(g[0]) * (reduction == Reduction.Mean ? 1.0 / _elements : 1));
            var x = In<T>(1);
            var target = In<T>(2);
            var dx = Out<T>(0);
            var i = start;
            if (reduction == Reduction.None)
            {
                for (; i <= end - Vector512<T>.Count; i += Vector512<T>.Count)
                    (f.Derivative(Vector512.Load(x + i), Vector512.Load(target + i)) * Vector512.Load(g + i)).Store(dx + i);
            }
            else
            {
                for (; i <= end - Vector512<T>.Count; i += Vector512<T>.Count)
                    (f.Derivative(Vector512.Load(x + i), Vector512.Load(target + i)) * each).Store(dx + i);
            }

            if (i == end) return;
            var count = (int)(end - i);
            var upstream = reduction == Reduction.None ? Lanes.Load(g + i, count) : each;
            Lanes.Store(dx + i, count, f.Derivative(Lanes.Load(x + i, count), Lanes.Load(target + i, count)) * upstream);
        }
    }
}
