using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>softmax.cu: softmax and log_softmax, forward and backward, for f32 and bf16.</summary>
internal static class SoftmaxLauncher
{
    private const int Threads = 256;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (SoftmaxOp)node.Op;
        return Create(node, limits, "softmax_forward", op.Dim, op.Log, [Operand.Out(0), Operand.In(0)]);
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = (SoftmaxBackwardOp)node.Op;
        return Create(node, limits, "softmax_backward", op.Dim, op.Log, [Operand.Out(0), Operand.In(0), Operand.In(1)]);
    }

    private static PlannedKernel? Create(Node node, CudaLimits limits, string entry, int dim, bool log, Operand[] operands)
    {
        var x = node.Inputs[0];
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0) return null;
        var (classes, length) = (x.Shape[dim], x.Shape.Product(dim + 1, x.Rank));
        var lines = x.Type.Elements / classes;
        var lanes = length > 1 ? 1 : classes <= 2048 ? 32 : Threads;
        var request = new KernelRequest("softmax.cu", entry)
        {
            Defines = [KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("LANES", lanes), KernelRequest.Define("LOG", log ? 1 : 0)],
        };
        var shape = new LaunchShape(new Dim3((uint)limits.Blocks(lines * lanes, Threads)), new Dim3(Threads));
        // Every input is read twice.
        return new PlannedKernel(node, new LaunchStep(request, shape, operands, [lines, classes, length]))
        {
            ExactCost = node.Op.Cost(node) + new Cost(node.Inputs.Sum(t => t.Type.Bytes), 0, 0),
        };
    }
}
