using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The launchers of the hand-written kernels of <c>kernels/</c>, one line per op.</summary>
internal static class FileLaunchers
{
    public static void Register()
    {
        RegisterActivations();
        CudaKernels.Register<PReluOp>(ChannelActivationLauncher.PRelu);
        CudaKernels.Register<PReluBackwardOp>(ChannelActivationLauncher.PReluBackward);
        CudaKernels.Register<SReluOp>(ChannelActivationLauncher.SRelu);
        CudaKernels.Register<SReluBackwardOp>(ChannelActivationLauncher.SReluBackward);
        CudaKernels.Register<MaxoutOp>(MaxoutLauncher.Forward);
        CudaKernels.Register<MaxoutBackwardOp>(MaxoutLauncher.Backward);
        CudaKernels.Register<BatchNormOp>(BatchNormLauncher.Forward);
        CudaKernels.Register<BatchNormApplyOp>(BatchNormApplyLauncher.Create);
        CudaKernels.Register<BatchNormBackwardOp>(BatchNormBackwardLauncher.Create);
        CudaKernels.Register<AvgPool2dOp>(AveragePoolLauncher.Forward);
        CudaKernels.Register<AdaptiveAvgPool2dOp>(AveragePoolLauncher.Forward);
        CudaKernels.Register<AveragingNhwcOp>(AveragePoolLauncher.Forward);
        CudaKernels.Register<AveragingBackwardOp>(AveragePoolLauncher.Backward);
        CudaKernels.Register<AveragingBackwardNhwcOp>(AveragePoolLauncher.Backward);
        CudaKernels.Register<LocalResponseNormOp>(LocalResponseNormLauncher.Forward);
        CudaKernels.Register<LocalResponseNormBackwardOp>(LocalResponseNormLauncher.Backward);
        CudaKernels.Register<SyncBatchNormStatsOp>(SyncBatchNormLauncher.Stats);
        CudaKernels.Register<SyncBatchNormSumsOp>(SyncBatchNormLauncher.Sums);
        CudaKernels.Register<CrossEntropyOp>(CrossEntropyLauncher.Forward);
        CudaKernels.Register<CrossEntropyBackwardOp>(CrossEntropyLauncher.Backward);
        CudaKernels.Register<CrossEntropyWithGradientOp>(CrossEntropyLauncher.WithGradient);
        CudaKernels.Register<AdamOp>(OptimizerLauncher.Create);
        CudaKernels.Register<SgdOp>(OptimizerLauncher.Create);
        CudaKernels.Register<RmsPropOp>(OptimizerLauncher.Create);
        CudaKernels.Register<AdagradOp>(OptimizerLauncher.Create);
        CudaKernels.Register<ClipGradNormOp>(ClipGradNormLauncher.Create);
        CudaKernels.Register<BiasActOp>(BiasActLauncher.Forward);
        CudaKernels.Register<BiasActBackwardOp>(BiasActLauncher.Backward);
        CudaKernels.Register<ClippedStepOp>(ClippedStepLauncher.Create);
        CudaKernels.Register<DropoutOp>(DropoutLauncher.Create);
        CudaKernels.Register<AugmentOp>(AugmentLauncher.Create);
        CudaKernels.Register<SoftmaxOp>(SoftmaxLauncher.Forward);
        CudaKernels.Register<SoftmaxBackwardOp>(SoftmaxLauncher.Backward);
        CudaKernels.Register<LayerNormOp>(RowNormLauncher.Forward);
        CudaKernels.Register<GroupNormOp>(RowNormLauncher.Forward);
        CudaKernels.Register<InstanceNormOp>(RowNormLauncher.Forward);
        CudaKernels.Register<RmsNormOp>(RowNormLauncher.Forward);
        CudaKernels.Register<RowNormBackwardOp>(RowNormLauncher.Backward);
        CudaKernels.Register<PermuteOp>(TransposeLauncher.Create);
    }

    private static void RegisterActivations()
    {
        CudaKernels.Register<ActivationBackwardOp>(ActivationLauncher.Backward);
        CudaKernels.Register<Relu>(ActivationLauncher.Forward);
        CudaKernels.Register<LeakyRelu>(ActivationLauncher.Forward);
        CudaKernels.Register<Elu>(ActivationLauncher.Forward);
        CudaKernels.Register<Gelu>(ActivationLauncher.Forward);
        CudaKernels.Register<Silu>(ActivationLauncher.Forward);
        CudaKernels.Register<Mish>(ActivationLauncher.Forward);
        CudaKernels.Register<Softplus>(ActivationLauncher.Forward);
        CudaKernels.Register<Softsign>(ActivationLauncher.Forward);
        CudaKernels.Register<Sigmoid>(ActivationLauncher.Forward);
        CudaKernels.Register<LogSigmoid>(ActivationLauncher.Forward);
        CudaKernels.Register<Tanh>(ActivationLauncher.Forward);
        CudaKernels.Register<Hardtanh>(ActivationLauncher.Forward);
        CudaKernels.Register<Hardsigmoid>(ActivationLauncher.Forward);
        CudaKernels.Register<Hardswish>(ActivationLauncher.Forward);
    }
}
