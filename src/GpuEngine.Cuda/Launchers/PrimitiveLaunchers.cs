using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The launchers of the primitives, one line each.</summary>
internal static class PrimitiveLaunchers
{
    public static void Register()
    {
        CudaKernels.Register<ConstantOp>(Elementwise.Constant);
        CudaKernels.Register<UnaryOp>(Elementwise.Create);
        CudaKernels.Register<BinaryOp>(Elementwise.Create);
        CudaKernels.Register<CompareOp>(Elementwise.Create);
        CudaKernels.Register<WhereOp>(Elementwise.Create);
        CudaKernels.Register<CastOp>(Elementwise.Create);
        CudaKernels.Register<BroadcastToOp>(Elementwise.Create);
        CudaKernels.Register<ElementwiseRegionOp>(Elementwise.Region);
        CudaKernels.Register<PermuteOp>(Elementwise.Permute);
        CudaKernels.Register<SliceOp>(Elementwise.Slice);
        CudaKernels.Register<IotaOp>(Moves.Iota);
        CudaKernels.Register<LiteralOp>((node, _) => new Literal(node));
        CudaKernels.Register<CopyOp>((node, _) => new Copy(node));
        CudaKernels.Register<PadOp>(Moves.Pad);
        CudaKernels.Register<ConcatOp>((node, limits) => new Concat(node, limits));
        CudaKernels.Register<PackOp>((node, _) => new Pack(node));
        CudaKernels.Register<ReduceOp>(Reduce.Create);
        CudaKernels.Register<ArgMaxOp>(ArgMax);
        CudaKernels.Register<GatherOp>(Gather.Last);
        CudaKernels.Register<ScatterAddOp>(Gather.ScatterAdd);
        CudaKernels.Register<GatherRowsOp>(Gather.Rows);
        CudaKernels.Register<ScatterRowsOp>(Gather.ScatterRows);
        CudaKernels.Register<RandomUniformOp>(RandomUniform);
        CudaKernels.Register<MaxPoolOp>(MaxPoolLauncher.Forward);
        CudaKernels.Register<MaxPoolNhwcOp>(MaxPoolLauncher.Forward);
        CudaKernels.Register<MaxPoolBackwardOp>(MaxPoolLauncher.Backward);
        CudaKernels.Register<MaxPoolBackwardNhwcOp>(MaxPoolLauncher.Backward);
        CudaKernels.Register<MatMulOp>(MatMul.Create);
        CudaKernels.Register<LinearOp>(MatMul.Linear);
        CudaKernels.Register<LinearParametersBackwardOp>(ParameterGradients.Create);
        CudaKernels.Register<ConvolutionOp>(Convolution.Forward);
        CudaKernels.Register<ConvolutionInputOp>(Convolution.Input);
        CudaKernels.Register<ConvolutionWeightOp>(Convolution.Weight);
        CudaKernels.Register<ConvolutionNhwcOp>(Convolution.Forward);
        CudaKernels.Register<ConvolutionEpilogueOp>(ConvolutionWithEpilogue.Create);
        CudaKernels.Register<Conv2dOp>((node, limits) => ((Conv2dOp)node.Op).Bias ? ConvolutionWithEpilogue.Create(node, limits) : Convolution.Forward(node, limits));
        CudaKernels.Register<ConvolutionInputNhwcOp>(Convolution.Input);
        CudaKernels.Register<ConvolutionWeightNhwcOp>(Convolution.Weight);
    }

    private static GeneratedKernel ArgMax(Node node, CudaLimits limits)
    {
        var rows = node.Outputs[0].Type.Elements;
        var request = Typed("argmax", PrimitiveSource.ArgMax, node.Inputs[0].DType);
        var shape = new LaunchShape(new Dim3((uint)Math.Max(1, (rows + 7) / 8)), new Dim3(256));
        return new GeneratedKernel(node, request, shape, rows, node.Inputs[0].Shape[^1]);
    }

    private static GeneratedKernel RandomUniform(Node node, CudaLimits limits)
    {
        var type = node.Outputs[0].Type;
        var request = Typed("random_uniform", PrimitiveSource.RandomUniform, type.DType);
        return GeneratedKernel.Over((type.Elements + 3) / 4, node, limits, request, ((RandomUniformOp)node.Op).Stream);
    }

    private static KernelRequest Typed(string entry, string text, DType dtype) => new(entry, entry)
    {
        GeneratedText = text,
        Defines = [KernelRequest.Define("STORAGE", dtype), ("COMPUTE", KernelRequest.ComputeType(dtype))],
        Fma = false,
    };
}
