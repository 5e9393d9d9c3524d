using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// The three convolutions in both layouts. Variants: "cudnn"; "gemm", a window of one element as a product by cuBLAS; "im2col", products
/// over patches; "direct" (or "naive"), generated kernels that are right everywhere.
/// </summary>
internal static class Convolution
{
    /// <summary>Below so many flops one direct launch takes no longer than the launches around a product.</summary>
    private const long DirectFlops = 4 << 20;

    public static CudaKernel Forward(Node node, CudaLimits limits)
    {
        var problem = node.Op is ConvolutionNhwcOp nhwc
            ? ConvProblem.ChannelsLast(ConvRole.Forward, nhwc.Geometry, node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape)
            : new ConvProblem(ConvRole.Forward, ((ConvolutionOp)node.Op).Geometry, node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape, false);
        return Create(node, limits, problem, "convolution", ConvolutionSource.Forward);
    }

    public static CudaKernel Input(Node node, CudaLimits limits)
    {
        var problem = node.Op is ConvolutionInputNhwcOp nhwc
            ? ConvProblem.ChannelsLast(ConvRole.Input, nhwc.Geometry, node.Outputs[0].Shape, node.Inputs[1].Shape, node.Inputs[0].Shape)
            : new ConvProblem(ConvRole.Input, ((ConvolutionInputOp)node.Op).Geometry, node.Outputs[0].Shape, node.Inputs[1].Shape, node.Inputs[0].Shape, false);
        return Create(node, limits, problem, "convolution_input", ConvolutionSource.Input);
    }

    public static CudaKernel Weight(Node node, CudaLimits limits)
    {
        var problem = node.Op is ConvolutionWeightNhwcOp nhwc
            ? ConvProblem.ChannelsLast(ConvRole.Weight, nhwc.Geometry, node.Inputs[1].Shape, node.Outputs[0].Shape, node.Inputs[0].Shape)
            : new ConvProblem(ConvRole.Weight, ((ConvolutionWeightOp)node.Op).Geometry, node.Inputs[1].Shape, node.Outputs[0].Shape, node.Inputs[0].Shape, false);
        return Create(node, limits, problem, "convolution_weight", ConvolutionSource.Weight);
    }

    private static CudaKernel Create(Node node, CudaLimits limits, ConvProblem problem, string entry, string text)
    {
        var own = Products(node, limits, problem) ?? (CudaKernel)Direct(node, limits, problem, entry, text);
        return limits.HasCudnn && !problem.IsEmpty && limits.Allows("cudnn") ? new CudnnConvolution(limits, own, problem) : own;
    }

    /// <summary>By cuBLAS; null where that cannot be, may not be or does not pay.</summary>
    private static PlannedKernel? Products(Node node, CudaLimits limits, ConvProblem problem)
    {
        if (!Im2colConvolution.Fits(problem, limits)) return null;
        // Asked for by name it is planned whatever the size.
        var wanted = limits.Allows(Im2colConvolution.IsPlain(problem) ? "gemm" : "im2col");
        var pays = limits.Variant is not null || (!problem.IsDepthwise && node.Op.Cost(node).Flops >= DirectFlops);
        return wanted && pays ? Im2colConvolution.Create(node, limits, problem) : null;
    }

    private static GeneratedKernel Direct(Node node, CudaLimits limits, ConvProblem problem, string entry, string text)
    {
        var (count, dtype) = (node.Outputs[0].Type.Elements, node.Outputs[0].DType);
        var request = new KernelRequest(entry, entry)
        {
            GeneratedText = text,
            Defines =
            [
                KernelRequest.Define("STORAGE", dtype), ("COMPUTE", KernelRequest.ComputeType(dtype)),
                KernelRequest.Define("CHANNELS_LAST", problem.IsChannelsLast ? 1 : 0),
            ],
        };
        // A weight's element is a sum over the whole batch: a block for each.
        var shape = problem.Role == ConvRole.Weight
            ? new LaunchShape(new Dim3((uint)Math.Clamp(count, 1, 1 << 20)), new Dim3(128))
            : new LaunchShape(new Dim3((uint)limits.Blocks(count, 256)), new Dim3(256));
        limits.Allows("direct");
        return new GeneratedKernel(node, request, shape, [.. problem.Sizes, count]);
    }
}
