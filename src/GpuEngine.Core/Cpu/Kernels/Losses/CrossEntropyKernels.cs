using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;
using static GpuEngine.Core.Cpu.Kernels.VectorMath;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// cross_entropy forward and backward. With coefficients k_c of -log softmax_c (see <see cref="CrossEntropyBackwardOp"/>) a
/// line's loss is sum k_c (max - x_c) + (sum k_c) log sum exp(x - max). The lines' losses and weights go to the workspace as doubles
/// and are added in their order.
/// </summary>
internal static class CrossEntropyKernels
{
    public static CpuKernel? Forward(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new ForwardKernel<float>(node), () => new ForwardKernel<double>(node));

    public static CpuKernel? Backward(Node node, int workers) => CpuKernels.Typed(
        node.Outputs[0].DType, () => new BackwardKernel<float>(node), () => new BackwardKernel<double>(node));

    /// <summary>What both directions know of the targets. Inputs first: logits, target, weight.</summary>
    private abstract unsafe class Targets<T> : LineKernel<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        private readonly int _first;
        private readonly bool _wide;
        private readonly T _smooth;
        private readonly T _rest;
        private double _weightSum;

        protected Targets(Node node, CrossEntropyOp op, int first)
            : base(node.Inputs[first].Shape, CrossEntropyOp.ClassAxis(node.Inputs[first].Shape))
        {
            (Op, _first, _wide) = (op, first, node.Inputs[first + 1].DType == DType.I64);
            _smooth = T.CreateTruncating(op.LabelSmoothing / Length);
            _rest = T.CreateTruncating(1 - op.LabelSmoothing);
        }

        protected CrossEntropyOp Op { get; }

        protected T* Logits => In<T>(_first);

        protected T* Weight => Op.Weighted ? In<T>(_first + 2) : null;

        /// <summary>Every class has a coefficient, not only the target.</summary>
        protected bool IsDense => Op.Probabilities || Op.LabelSmoothing > 0;

        /// <summary>The sum over the classes of what smoothing adds to each.</summary>
        protected double SmoothSum => Op.LabelSmoothing / Length * _weightSum;

        public override void Run(CpuPool pool)
        {
            _weightSum = Op.Weighted ? Sum(Weight, Length) : Length;
            base.Run(pool);
        }

        /// <summary>The class of a line, or -1 for one to ignore, or -2 for an index that is no class.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected long Class(long line)
        {
            var index = _wide ? In<long>(_first + 1)[line] : In<int>(_first + 1)[line];
            return index == Op.IgnoreIndex ? -1 : (ulong)index < (ulong)Length ? index : -2;
        }

        /// <summary>The target's weight: 0 when ignored, NaN for no class.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected double LineWeight(long target) => target switch
        {
            -1 => 0,
            -2 => double.NaN,
            _ => Op.Weighted ? double.CreateTruncating(Weight[target]) : 1,
        };

        /// <summary>Coefficients of the classes of one line, the target's own share (class indices) left out.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected Vector512<T> Coefficients(long at, int c, int count)
        {
            var k = Op.Probabilities ? Mix(Lanes.Load(In<T>(_first + 1) + at + c, count)) : Vector512.Create(_smooth);
            return Op.Weighted ? k * Lanes.Load(Weight + c, count) : k;
        }

        /// <summary>The same for class c of neighbouring lines.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        protected Vector512<T> ColumnCoefficients(long at, int c, int count)
        {
            var k = Op.Probabilities ? Mix(Lanes.Load(In<T>(_first + 1) + at + c * Inner, count)) : Vector512.Create(_smooth);
            return Op.Weighted ? k * Vector512.Create(Weight[c]) : k;
        }

        private static double Sum(T* x, int n)
        {
            var sum = 0.0;
            for (var i = 0; i < n; i++) sum += double.CreateTruncating(x[i]);
            return sum;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private Vector512<T> Mix(Vector512<T> t) =>
            Op.LabelSmoothing > 0 ? t * Vector512.Create(_rest) + Vector512.Create(_smooth) : t;
    }

    private sealed unsafe class ForwardKernel<T>(Node node) : Targets<T>(node, (CrossEntropyOp)node.Op, 0)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        public override long WorkspaceBytes => 2 * Lines * sizeof(double);

        public override void Run(CpuPool pool)
        {
            base.Run(pool);
            var losses = new ReadOnlySpan<double>((double*)Workspace, checked((int)Lines));
            var weights = new ReadOnlySpan<double>((double*)Workspace + Lines, (int)Lines);
            var divisor = Op.Probabilities ? Lines : TensorPrimitives.Sum(weights);
            Out<T>(3)[0] = T.CreateTruncating(divisor);
            if (Op.Reduction != Reduction.None)
                Out<T>(0)[0] = T.CreateTruncating(TensorPrimitives.Sum(losses) / (Op.Reduction == Reduction.Mean ? divisor : 1));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Line(long line, long at)
        {
            var x = Logits + at;
            var max = Max(x);
            var log = Math.Log(SumExp(x, max, null));
            var (shifted, total) = (0.0, 0.0);
            if (IsDense)
            {
                var whole = Length / Vector512<T>.Count * Vector512<T>.Count;
                var (a, k) = (Vector512<T>.Zero, Vector512<T>.Zero);
                if (whole < Length)
                {
                    var rest = Length - whole;
                    k = Lanes.Keep(Coefficients(at, whole, rest), rest);
                    a = Lanes.Keep(k * (Vector512.Create(max) - Lanes.Load(x + whole, rest)), rest);
                }

                for (var c = 0; c < whole; c += Vector512<T>.Count)
                {
                    var coefficient = Coefficients(at, c, Vector512<T>.Count);
                    a += coefficient * (Vector512.Create(max) - Vector512.Load(x + c));
                    k += coefficient;
                }

                (shifted, total) = (double.CreateTruncating(Vector512.Sum(a)), double.CreateTruncating(Vector512.Sum(k)));
            }

            Finish(line, at, max, log, shifted, total);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Columns(long line, long at, int count)
        {
            var x = Logits + at;
            var max = MaxColumns(x, count);
            var sum = SumExpColumns(x, max, count, null);
            var (a, k) = (Vector512<T>.Zero, Vector512<T>.Zero);
            for (var c = 0; IsDense && c < Length; c++)
            {
                var coefficient = ColumnCoefficients(at, c, count);
                a += coefficient * (max - Lanes.Load(x + c * Inner, count));
                k += coefficient;
            }

            for (var i = 0; i < count; i++)
            {
                var log = Math.Log(double.CreateTruncating(sum[i]));
                Finish(line + i, at + i, max[i], log, double.CreateTruncating(a[i]), double.CreateTruncating(k[i]));
            }
        }

        /// <param name="line">The line.</param>
        /// <param name="at">Where its logits begin.</param>
        /// <param name="max">Their maximum.</param>
        /// <param name="log">log sum exp(x - max).</param>
        /// <param name="shifted">The sum of k_c (max - x_c) over the dense coefficients.</param>
        /// <param name="total">The sum of the dense coefficients.</param>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Finish(long line, long at, T max, double log, double shifted, double total)
        {
            var (loss, weight) = (0.0, 0.0);
            if (Op.Probabilities)
            {
                loss = shifted + total * log;
            }
            else
            {
                var target = Class(line);
                weight = LineWeight(target);
                if (weight != 0)
                {
                    var picked = target < 0 ? 0 : double.CreateTruncating(max) - double.CreateTruncating(Logits[at + target * Inner]) + log;
                    loss = weight * (1 - Op.LabelSmoothing) * picked;
                }

                if (Op.LabelSmoothing > 0 && target != -1) loss += shifted + total * log;
            }

            Out<T>(1)[line] = max;
            Out<T>(2)[line] = T.CreateTruncating(log);
            if (Op.Reduction == Reduction.None) Out<T>(0)[line] = T.CreateTruncating(loss);
            ((double*)Workspace)[line] = loss;
            ((double*)Workspace)[Lines + line] = weight;
        }
    }

    /// <summary>dx_c = (softmax_c sum(k) - k_c) g, written over the logits where the plan says so.</summary>
    private sealed unsafe class BackwardKernel<T>(Node node) : Targets<T>(node, ((CrossEntropyBackwardOp)node.Op).Of, 1)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        private T* Maximum => In<T>(InputCount - 3);

        private T* LogSum => In<T>(InputCount - 2);

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Line(long line, long at)
        {
            var dx = Out<T>(0) + at;
            var target = Op.Probabilities ? 0 : Class(line);
            if (target == -1)
            {
                new Span<T>(dx, Length).Clear();
                return;
            }

            var g = Upstream(line);
            var own = Op.Probabilities ? 0 : LineWeight(target) * (1 - Op.LabelSmoothing);
            var total = Op.Probabilities ? Total(at) : own + SmoothSum;
            var (scale, factor) = (All<T>(total * g), All<T>(g));
            var (max, log) = (Vector512.Create(Maximum[line]), Vector512.Create(LogSum[line]));
            var x = Logits + at;
            var dense = IsDense;
            var whole = Length / Vector512<T>.Count * Vector512<T>.Count;
            for (var c = 0; c < whole; c += Vector512<T>.Count)
            {
                var value = Exp(Vector512.Load(x + c) - max - log) * scale;
                if (dense) value -= Coefficients(at, c, Vector512<T>.Count) * factor;
                value.Store(dx + c);
            }

            if (whole < Length)
            {
                var rest = Length - whole;
                var value = Exp(Lanes.Load(x + whole, rest) - Vector512.Create(Maximum[line]) - Vector512.Create(LogSum[line])) * All<T>(total * g);
                if (dense) value -= Coefficients(at, whole, rest) * All<T>(g);
                Lanes.Store(dx + whole, rest, value);
            }

            if (own != 0 && target >= 0) dx[target] -= T.CreateTruncating(own * g);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        protected override void Columns(long line, long at, int count)
        {
            var (scale, factor, keep) = (Vector512<T>.Zero, Vector512<T>.Zero, Vector512<T>.Zero);
            var totals = Op.Probabilities ? ColumnTotals(at, count) : default;
            for (var i = 0; i < count; i++)
            {
                var target = Op.Probabilities ? 0 : Class(line + i);
                if (target == -1) continue;
                var g = Upstream(line + i);
                var total = Op.Probabilities ? double.CreateTruncating(totals[i]) : LineWeight(target) * (1 - Op.LabelSmoothing) + SmoothSum;
                scale = scale.WithElement(i, T.CreateTruncating(total * g));
                factor = factor.WithElement(i, T.CreateTruncating(g));
                keep = keep.WithElement(i, T.One);
            }

            var ignored = Vector512.Equals(keep, Vector512<T>.Zero);
            var max = Lanes.Load(Maximum + line, count);
            var log = Lanes.Load(LogSum + line, count);
            for (var c = 0; c < Length; c++)
            {
                var value = Exp(Lanes.Load(Logits + at + c * Inner, count) - max - log) * scale;
                if (IsDense) value -= ColumnCoefficients(at, c, count) * factor;
                Lanes.Store(Out<T>(0) + at + c * Inner, count, Vector512.AndNot(value, ignored));
            }

            for (var i = 0; i < count && !Op.Probabilities; i++)
            {
                var target = Class(line + i);
                if (target < 0) continue;
                Out<T>(0)[at + i + target * Inner] -= T.CreateTruncating(LineWeight(target) * (1 - Op.LabelSmoothing) * Upstream(line + i));
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private double Upstream(long line) => Op.Reduction switch
        {
            Reduction.Mean => double.CreateTruncating(In<T>(0)[0]) / double.CreateTruncating(In<T>(InputCount - 1)[0]),
            Reduction.Sum => double.CreateTruncating(In<T>(0)[0]),
            _ => double.CreateTruncating(In<T>(0)[line]),
        };

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private double Total(long at)
        {
            var k = Vector512<T>.Zero;
            var whole = Length / Vector512<T>.Count * Vector512<T>.Count;
            if (whole < Length) k = Lanes.Keep(Coefficients(at, whole, Length - whole), Length - whole);
            for (var c = 0; c < whole; c += Vector512<T>.Count) k += Coefficients(at, c, Vector512<T>.Count);
            return double.CreateTruncating(Vector512.Sum(k));
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private Vector512<T> ColumnTotals(long at, int count)
        {
            var k = Vector512<T>.Zero;
            for (var c = 0; c < Length; c++) k += ColumnCoefficients(at, c, count);
            return k;
        }
    }
}
