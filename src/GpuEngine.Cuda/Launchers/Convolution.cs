using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// The three convolutions in both layouts. Variants: "cudnn"; "gemm", a window of one element as a product by cuBLAS; "im2col", products
/// over patches; "split_k", weight gradients of 3 x 3 windows with their sum split over blocks; "direct" (or "naive"), generated kernels that are right everywhere.
/// </summary>
internal static class Convolution
{
    /// <summary>Below so many flops one direct launch takes no longer than the launches around a product.</summary>
    private const long DirectFlops = 4 << 20;

    /// <summary>Above so many the direct kernels, which reuse nothing, are not even tried.</summary>
    internal const long DirectMostFlops = 1 << 30;

    /// <summary>The name of the direct kernels.</summary>
    internal const string Direct = "direct";

    public static CudaKernel Forward(Node node, CudaLimits limits)
    {
        var (x, w, y) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        var problem = node.Op switch
        {
            ConvolutionNhwcOp last => ConvProblem.ChannelsLast(ConvRole.Forward, last.Geometry, x, w, y),
            Conv2dOp layer => new ConvProblem(ConvRole.Forward, layer.Geometry, x, w, y, false),
            _ => new ConvProblem(ConvRole.Forward, ((ConvolutionOp)node.Op).Geometry, x, w, y, false),
        };
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
        // Heard, not asked: below all of them are looked at.
        limits.Allows("cudnn");
        var plain = Im2colConvolution.IsPlain(problem) ? "gemm" : "im2col";
        limits.Allows(plain);
        var splits = SplitWeightGradient.Fits(problem, node.Outputs[0].DType);
        if (splits) limits.Allows(SplitWeightGradient.Name);
        limits.Allows(Direct);
        ConvolutionKernel.OwnWay Way(string name, Func<CudaKernel> make) => new(name, make(), make);
        ConvolutionKernel.OwnWay Simple() => Way(Direct, () => DirectKernel(node, limits, problem, entry, text));
        ConvolutionKernel.OwnWay Split() => Way(SplitWeightGradient.Name, () => SplitWeightGradient.Create(node, limits, problem));
        ConvolutionKernel.OwnWay Products() => Way(plain, () => Im2colConvolution.Create(node, limits, problem));
        var fits = Im2colConvolution.Fits(problem, limits);
        if (problem.IsEmpty || limits.Variant is Direct or "naive") return Simple().Planned;
        if (fits && limits.Variant == plain) return Products().Planned;
        if (splits && limits.Variant == SplitWeightGradient.Name) return Split().Planned;

        // A variant that this launcher does not have is as good as none.
        var pays = fits && !problem.IsDepthwise && node.Op.Cost(node).Flops >= DirectFlops;
        List<ConvolutionKernel.OwnWay> own = !fits ? [Simple()] : pays ? [Products(), Simple()] : [Simple(), Products()];
        // Nobody has measured it yet, so only a measurement makes it the choice.
        if (splits) own.Add(Split());
        return limits.HasCudnn || (own.Count > 1 && limits.MeasuresConvolutions) ? new ConvolutionKernel(node, limits, problem, own) : own[0].Planned;
    }

    private static GeneratedKernel DirectKernel(Node node, CudaLimits limits, ConvProblem problem, string entry, string text)
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
        return new GeneratedKernel(node, request, shape, [.. problem.Sizes, count]);
    }
}
