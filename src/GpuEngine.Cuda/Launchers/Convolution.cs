using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The three convolutions: by cuDNN where it is installed, else by generated direct kernels.</summary>
internal static class Convolution
{
    public static CudaKernel Forward(Node node, CudaLimits limits)
    {
        var op = (ConvolutionOp)node.Op;
        var (x, w, y) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        var direct = GeneratedKernel.Over(
            y.Elements, node, limits, Request(node, "convolution", ProductSource.Convolution), Sizes(op.Geometry, x, w, y));
        return CudnnConvolution.Or(direct, limits, op.Geometry, x, w, y);
    }

    public static CudaKernel Input(Node node, CudaLimits limits)
    {
        var op = (ConvolutionInputOp)node.Op;
        var (x, w, y) = (node.Outputs[0].Shape, node.Inputs[1].Shape, node.Inputs[0].Shape);
        var direct = GeneratedKernel.Over(
            x.Elements, node, limits, Request(node, "convolution_input", ProductSource.ConvolutionInput), Sizes(op.Geometry, x, w, y));
        return CudnnConvolution.Or(direct, limits, op.Geometry, x, w, y);
    }

    public static CudaKernel Weight(Node node, CudaLimits limits)
    {
        var op = (ConvolutionWeightOp)node.Op;
        var (x, w, y) = (node.Inputs[1].Shape, node.Outputs[0].Shape, node.Inputs[0].Shape);
        var direct = new GeneratedKernel(
            node, Request(node, "convolution_weight", ProductSource.ConvolutionWeight),
            new LaunchShape(new Dim3((uint)Math.Clamp(w.Elements, 1, 1 << 20)), new Dim3(128)),
            [.. Sizes(op.Geometry, x, w, y), w.Elements]);
        return CudnnConvolution.Or(direct, limits, op.Geometry, x, w, y);
    }

    private static KernelRequest Request(Node node, string entry, string text)
    {
        var dtype = node.Outputs[0].DType;
        return new KernelRequest(entry, entry)
        {
            GeneratedText = text,
            Defines = [KernelRequest.Define("STORAGE", dtype), ("COMPUTE", KernelRequest.ComputeType(dtype))],
        };
    }

    private static long[] Sizes(ConvGeometry g, Shape x, Shape w, Shape y) =>
    [
        x[0], x[1], x[2], x[3], w[0], w[2], w[3], y[2], y[3], g.Stride[0], g.Stride[1], g.Padding[0], g.Padding[1],
        g.Dilation[0], g.Dilation[1], g.Groups,
    ];
}
