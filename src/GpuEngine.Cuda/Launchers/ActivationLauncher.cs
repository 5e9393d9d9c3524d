using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>activation.cu: element-wise activations, prelu, srelu and maxout, forward and backward, for f32 and bf16.</summary>
internal static class ActivationLauncher
{
    private const string File = "activation.cu";
    private const int Threads = 256;

    public static CudaKernel? Forward(Node node, CudaLimits limits) =>
        Elementwise(node, limits, "activation_forward", (Activation)node.Op, [Operand.Out(0), Operand.In(0)]);

    public static CudaKernel? Backward(Node node, CudaLimits limits) =>
        Elementwise(node, limits, "activation_backward", ((ActivationBackwardOp)node.Op).Of, [Operand.Out(0), Operand.In(0), Operand.In(1)]);

    public static CudaKernel? PRelu(Node node, CudaLimits limits) =>
        PerChannel(node, limits, node.Inputs[0], "prelu_forward", node.Inputs[1].Type.Elements == 1, reduces: false);

    public static CudaKernel? PReluBackward(Node node, CudaLimits limits) =>
        PerChannel(node, limits, node.Inputs[1], "prelu_backward", node.Inputs[2].Type.Elements == 1, reduces: true);

    public static CudaKernel? SRelu(Node node, CudaLimits limits) =>
        PerChannel(node, limits, node.Inputs[0], "srelu_forward", node.Inputs[1].Type.Elements == 1, reduces: false);

    public static CudaKernel? SReluBackward(Node node, CudaLimits limits) =>
        PerChannel(node, limits, node.Inputs[1], "srelu_backward", node.Inputs[2].Type.Elements == 1, reduces: true);

    public static CudaKernel? Maxout(Node node, CudaLimits limits)
    {
        var op = (MaxoutOp)node.Op;
        return Maxout(node, limits, "maxout_forward", node.Outputs[0], op.Pieces, op.Dim, [Operand.Out(0), Operand.In(0)]);
    }

    public static CudaKernel? MaxoutBackward(Node node, CudaLimits limits)
    {
        var op = (MaxoutBackwardOp)node.Op;
        return Maxout(node, limits, "maxout_backward", node.Inputs[0], op.Pieces, op.Dim, [Operand.Out(0), Operand.In(0), Operand.In(1)]);
    }

    private static PlannedKernel? Elementwise(Node node, CudaLimits limits, string entry, Activation activation, Operand[] operands)
    {
        var type = node.Outputs[0].Type;
        if (!Fits(type) || ActivationMacros.Of(activation) is not { } macros) return null;
        var vector = VectorWidth.Any(type.DType, node.Inputs);
        return One(
            node, limits, entry, [KernelRequest.Define("DTYPE", type.DType), KernelRequest.Define("VECTOR", vector), .. macros],
            (type.Elements + vector - 1) / vector, operands, type.Elements);
    }

    /// <summary>Outputs, then inputs, then elements, channels and places per channel.</summary>
    private static PlannedKernel? PerChannel(Node node, CudaLimits limits, Tensor x, string entry, bool single, bool reduces)
    {
        if (!Fits(x.Type)) return null;
        var channels = single ? 1 : x.Shape[1];
        var length = single ? 1 : x.Shape.Product(2, x.Rank);
        Operand[] operands =
        [
            .. Enumerable.Range(0, node.Outputs.Count).Select(Operand.Out), .. Enumerable.Range(0, node.Inputs.Count).Select(i => Operand.In(i)),
        ];
        var request = new KernelRequest(File, entry) { Defines = [KernelRequest.Define("DTYPE", x.DType), KernelRequest.Define("VECTOR", 1)] };
        var blocks = reduces ? channels : limits.Blocks(x.Type.Elements, Threads);
        return new PlannedKernel(
            node, new LaunchStep(request, new LaunchShape(new Dim3((uint)blocks), new Dim3(Threads)), operands, [x.Type.Elements, channels, length]));
    }

    private static PlannedKernel? Maxout(Node node, CudaLimits limits, string entry, Tensor y, int pieces, int dim, Operand[] operands)
    {
        if (!Fits(y.Type) || pieces > 64) return null;
        return One(
            node, limits, entry, [KernelRequest.Define("DTYPE", y.DType), KernelRequest.Define("VECTOR", 1), KernelRequest.Define("PIECES", pieces)],
            y.Type.Elements, operands, y.Type.Elements, y.Shape.Product(dim + 1, y.Rank));
    }

    private static PlannedKernel One(
        Node node, CudaLimits limits, string entry, (string, string)[] defines, long threads, Operand[] operands, params long[] sizes) => new(
        node,
        new LaunchStep(
            new KernelRequest(File, entry) { Defines = defines },
            new LaunchShape(new Dim3((uint)limits.Blocks(threads, Threads)), new Dim3(Threads)), operands, sizes));

    private static bool Fits(TensorType type) => type.DType is DType.F32 or DType.BF16 && type.Elements > 0;
}
