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
        var up = Select(Vector512.GreaterThan(d, Vector512<T>.Zero), All<T>(1), d);
        return Select(Vector512.LessThan(d, Vector512<T>.Zero), All<T>(-1), up);
    }
}

internal readonly struct HuberError<T>(HuberLoss op) : ILossFunctor<T> where T : unmanaged
{
    private readonly double _delta = op.Delta;
    private readonly double _scale = op.Scale;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Loss(Vector512<T> x, Vector512<T> target)
    {
        var d = x - target;
        var size = Vector512.Abs(d);
        return Select(
            Vector512.LessThan(size, All<T>(_delta)), d * d * All<T>(0.5 * _scale), (size - All<T>(0.5 * _delta)) * All<T>(_delta * _scale));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Derivative(Vector512<T> x, Vector512<T> target) => AtMost(AtLeast(x - target, -_delta), _delta) * All<T>(_scale);
}

internal readonly struct BinaryCrossEntropy<T> : ILossFunctor<T> where T : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<T> Loss(Vector512<T> x, Vector512<T> target) => (All<T>(1) - target) * x + Softplus(-x);

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
                    for (var i = 0; i < n; i += Vector512<T>.Count)
                        Lanes.Store(y + i, n - i, f.Loss(Lanes.Load(x + i, n - i), Lanes.Load(target + i, n - i)));
                    continue;
                }

                var sum = Vector512<T>.Zero;
                for (var i = 0; i < n; i += Vector512<T>.Count)
                    sum += Lanes.Keep(f.Loss(Lanes.Load(x + i, n - i), Lanes.Load(target + i, n - i)), n - i);
                ((double*)Workspace)[piece] = double.CreateTruncating(Vector512.Sum(sum));
            }
        }
    }

    private sealed unsafe class BackwardKernel<T, TFunctor>(Node node, Reduction reduction, TFunctor functor) : CpuKernel
        where T : unmanaged, INumber<T> where TFunctor : struct, ILossFunctor<T>
    {
        private readonly long _elements = node.Inputs[1].Type.Elements;

        protected override bool IsParallel => _elements >= 16384;

        public override void Execute(int worker, int workers)
        {
            var f = functor;
            var (start, end) = Share(_elements, worker, workers, Lanes.Grain);
            var g = In<T>(0);
            var each = reduction == Reduction.None ? default : All<T>(double.CreateTruncating(g[0]) * (reduction == Reduction.Mean ? 1.0 / _elements : 1));
            for (var i = start; i < end; i += Vector512<T>.Count)
            {
                var count = (int)Math.Min(end - i, Vector512<T>.Count);
                var derivative = f.Derivative(Lanes.Load(In<T>(1) + i, count), Lanes.Load(In<T>(2) + i, count));
                Lanes.Store(Out<T>(0) + i, count, derivative * (reduction == Reduction.None ? Lanes.Load(g + i, count) : each));
            }
        }
    }
}
