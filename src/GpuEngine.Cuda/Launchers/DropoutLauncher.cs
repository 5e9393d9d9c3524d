using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>dropout.cu: the same kernel forward and backward, for f32 and bf16. Variants: "naive".</summary>
internal static class DropoutLauncher
{
    private const int NaiveThreads = 256;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var x = node.Inputs[0];
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0) return null;
        (string, string)[] macros = [KernelRequest.Define("DTYPE", x.DType), .. DropoutMacros.Of((DropoutOp)node.Op)];
        Operand[] operands = [Operand.Out(0), Operand.In(0), Operand.In(1)];
        var count = x.Type.Elements;
        if (limits.Variant == "naive")
        {
            var shape = new LaunchShape(new Dim3((uint)limits.Blocks(count, NaiveThreads)), new Dim3(NaiveThreads));
            return new PlannedKernel(node, new LaunchStep(new KernelRequest("dropout.cu", "dropout_naive") { Defines = macros }, shape, operands, [count]));
        }

        var walk = ElementWalk.Flat(limits, x.DType, count, [x]);
        var request = new KernelRequest("dropout.cu", "dropout") { Defines = [.. macros, .. walk.Defines] };
        return new PlannedKernel(node, new LaunchStep(request, walk.Shape, operands, [count]))
        {
            ExactCost = node.Op.Cost(node) + walk.Repeated(0, 0, draws: true),
        };
    }
}
