using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>dropout.cu: the same kernel forward and backward.</summary>
internal static class DropoutLauncher
{
    private const int Threads = 256;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (DropoutOp)node.Op;
        var x = node.Inputs[0];
        if (x.DType is not (DType.F32 or DType.BF16) || x.Type.Elements == 0) return null;
        var count = x.Type.Elements;
        var request = new KernelRequest("dropout.cu", "dropout")
        {
            Defines =
            [
                KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("VECTOR", VectorWidth.Any(x.DType, [x]) == 1 ? 1 : 4),
                ("THRESHOLD", ((long)(op.Threshold * (1 << 24))).ToString(CultureInfo.InvariantCulture) + "u"),
                KernelRequest.Define("SCALE", (float)op.Scale), ("STREAM", ((uint)op.Stream).ToString(CultureInfo.InvariantCulture) + "u"),
            ],
        };
        var shape = new LaunchShape(new Dim3((uint)limits.Blocks((count + 3) / 4, Threads)), new Dim3(Threads));
        return new PlannedKernel(node, new LaunchStep(request, shape, [Operand.Out(0), Operand.In(0), Operand.In(1)], [count]));
    }
}
