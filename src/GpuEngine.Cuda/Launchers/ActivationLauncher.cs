using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// activation.cu: element-wise activations, forward and backward, for f32 and bf16. Variants: "naive", one element per access.
/// </summary>
internal static class ActivationLauncher
{
    private const int Threads = 256;

    public static CudaKernel? Forward(Node node, CudaLimits limits) =>
        Elementwise(node, limits, "activation_forward", (Activation)node.Op, [Operand.Out(0), Operand.In(0)]);

    public static CudaKernel? Backward(Node node, CudaLimits limits) =>
        Elementwise(node, limits, "activation_backward", ((ActivationBackwardOp)node.Op).Of, [Operand.Out(0), Operand.In(0), Operand.In(1)]);

    private static PlannedKernel? Elementwise(Node node, CudaLimits limits, string entry, Activation activation, Operand[] operands)
    {
        var type = node.Outputs[0].Type;
        if (!Fits(type) || ActivationMacros.Of(activation, type.DType) is not { } macros) return null;
        var vector = limits.Variant == "naive" ? 1 : VectorWidth.Any(type.DType, node.Inputs);
        var request = new KernelRequest("activation.cu", entry) { Defines = [KernelRequest.Define("DTYPE", type.DType), KernelRequest.Define("VECTOR", vector), .. macros] };
        var blocks = limits.Blocks((type.Elements + vector - 1) / vector, Threads, limits.Tuned("waves", 4));
        return new PlannedKernel(node, new LaunchStep(request, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), operands, [type.Elements]));
    }

    private static bool Fits(TensorType type) => type.DType is DType.F32 or DType.BF16 && type.Elements > 0;
}
