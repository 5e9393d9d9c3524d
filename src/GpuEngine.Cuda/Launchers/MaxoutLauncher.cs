using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>maxout.cu, forward and backward, for f32 and bf16 and up to 256 pieces. Variants: "naive".</summary>
internal static class MaxoutLauncher
{
    private const int Threads = 256;

    /// <summary>A byte holds the number of a piece.</summary>
    private const int MostPieces = 256;

    public static CudaKernel? Forward(Node node, CudaLimits limits)
    {
        var op = (MaxoutOp)node.Op;
        return Create(node, limits, "maxout_forward", node.Outputs[0], op.Pieces, op.Dim, [Operand.Out(0), Operand.Out(1), Operand.In(0)]);
    }

    public static CudaKernel? Backward(Node node, CudaLimits limits)
    {
        var op = (MaxoutBackwardOp)node.Op;
        return Create(node, limits, "maxout_backward", node.Inputs[0], op.Pieces, op.Dim, [Operand.Out(0), Operand.In(0), Operand.In(1)]);
    }

    private static PlannedKernel? Create(Node node, CudaLimits limits, string entry, Tensor y, int pieces, int dim, Operand[] operands)
    {
        if (y.DType is not (DType.F32 or DType.BF16) || y.Type.Elements == 0 || pieces > MostPieces) return null;
        var (count, length) = (y.Type.Elements, y.Shape.Product(dim + 1, y.Rank));
        var width = 16 / y.DType.Size();
        var naive = limits.Variant == "naive";
        var adjacent = !naive && length == 1 && width % pieces == 0 && VectorWidth.Any(y.DType, node.Inputs) > 1;
        var vector = naive ? 1 : adjacent ? width : VectorWidth.Dividing(y.DType, length, node.Inputs);
        var results = adjacent ? vector / pieces : vector;
        var request = new KernelRequest("maxout.cu", naive ? entry + "_naive" : entry)
        {
            Defines =
            [
                KernelRequest.Define("DTYPE", y.DType), KernelRequest.Define("VECTOR", vector), KernelRequest.Define("PIECES", pieces),
                KernelRequest.Define("ADJACENT", adjacent ? 1 : 0),
            ],
        };
        var blocks = limits.Blocks((count + results - 1) / results, Threads, limits.Tuned("waves", 4));
        return new PlannedKernel(node, new LaunchStep(request, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), operands, [count, length]));
    }
}
