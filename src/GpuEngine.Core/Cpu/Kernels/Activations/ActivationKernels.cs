using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>y = f(x) and dx = dy f'(x), one pass each, in place where the plan says so.</summary>
internal static class ActivationKernels
{
    /// <summary>Registers the kernels of activations, softmax, dropout, embedding and the losses.</summary>
    public static void Register()
    {
        RegisterActivation<Relu>();
        RegisterActivation<LeakyRelu>();
        RegisterActivation<Elu>();
        RegisterActivation<Gelu>();
        RegisterActivation<Silu>();
        RegisterActivation<Mish>();
        RegisterActivation<Softplus>();
        RegisterActivation<Softsign>();
        RegisterActivation<Sigmoid>();
        RegisterActivation<LogSigmoid>();
        RegisterActivation<Tanh>();
        RegisterActivation<Hardtanh>();
        RegisterActivation<Hardsigmoid>();
        RegisterActivation<Hardswish>();
        CpuKernels.Register<ActivationBackwardOp>((node, _) => Create(node, ((ActivationBackwardOp)node.Op).Of));
        CpuKernels.Register<BiasActOp>(BiasActKernels.Forward);
        CpuKernels.Register<BiasActBackwardOp>(BiasActKernels.Backward);
        CpuKernels.Register<PReluOp>(ChannelKernels.PRelu);
        CpuKernels.Register<PReluBackwardOp>(ChannelKernels.PReluBackward);
        CpuKernels.Register<SReluOp>(ChannelKernels.SRelu);
        CpuKernels.Register<SReluBackwardOp>(ChannelKernels.SReluBackward);
        CpuKernels.Register<MaxoutOp>(MaxoutKernels.Forward);
        CpuKernels.Register<MaxoutBackwardOp>(MaxoutKernels.Backward);
        CpuKernels.Register<SoftmaxOp>(SoftmaxKernels.Forward);
        CpuKernels.Register<SoftmaxBackwardOp>(SoftmaxKernels.Backward);
        CpuKernels.Register<DropoutOp>((node, _) => CpuKernels.Typed(
            node.Outputs[0].DType, () => new DropoutKernel<float>(node), () => new DropoutKernel<double>(node)));
        CpuKernels.Register<EmbeddingOp>(GatherKernels.GatherRows);
        CpuKernels.Register<CrossEntropyOp>(CrossEntropyKernels.Forward);
        CpuKernels.Register<CrossEntropyBackwardOp>(CrossEntropyKernels.Backward);
        PointwiseLossKernels.Register();
    }

    private static void RegisterActivation<TOp>() where TOp : Activation =>
        CpuKernels.Register<TOp>((node, _) => Create(node, (Activation)node.Op));

    private static CpuKernel? Create(Node node, Activation activation) => node.Outputs[0].DType switch
    {
        DType.F32 => ActivationFunctors.Visit(activation, new Maker<float>(node), out var kernel) ? kernel : null,
        DType.F64 => ActivationFunctors.Visit(activation, new Maker<double>(node), out var kernel) ? kernel : null,
        _ => null,
    };

    private sealed class Maker<T>(Node node) : IActivationVisitor<T, CpuKernel> where T : unmanaged
    {
        public CpuKernel Visit<TFunctor>(TFunctor functor) where TFunctor : struct, IActivationFunctor<T> => node.Op is ActivationBackwardOp
            ? new Backward<T, TFunctor>(node, functor)
            : new Forward<T, TFunctor>(node, functor);
    }

    private sealed unsafe class Forward<T, TFunctor>(Node node, TFunctor functor) : CpuKernel
        where T : unmanaged where TFunctor : struct, IActivationFunctor<T>
    {
        private readonly long _elements = node.Outputs[0].Type.Elements;

        protected override bool IsParallel => _elements >= 16384;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void Execute(int worker, int workers)
        {
            var (start, end) = Share(_elements, worker, workers, Lanes.Grain);
            var f = functor;
            var x = In<T>(0);
            var y = Out<T>(0);
            var i = start;
            for (; i <= end - Vector512<T>.Count; i += Vector512<T>.Count) f.Forward(Vector512.Load(x + i)).Store(y + i);
            if (i < end) Lanes.Store(y + i, (int)(end - i), f.Forward(Lanes.Load(x + i, (int)(end - i))));
        }
    }

    private sealed unsafe class Backward<T, TFunctor>(Node node, TFunctor functor) : CpuKernel
        where T : unmanaged where TFunctor : struct, IActivationFunctor<T>
    {
        private readonly long _elements = node.Outputs[0].Type.Elements;

        protected override bool IsParallel => _elements >= 16384;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public override void Execute(int worker, int workers)
        {
            var (start, end) = Share(_elements, worker, workers, Lanes.Grain);
            var f = functor;
            var dy = In<T>(0);
            var x = In<T>(1);
            var dx = Out<T>(0);
            var i = start;
            for (; i <= end - Vector512<T>.Count; i += Vector512<T>.Count)
                (Vector512.Load(dy + i) * f.Derivative(Vector512.Load(x + i))).Store(dx + i);
            if (i == end) return;
            var rest = (int)(end - i);
            Lanes.Store(dx + i, rest, Lanes.Load(dy + i, rest) * f.Derivative(Lanes.Load(x + i, rest)));
        }
    }
}
