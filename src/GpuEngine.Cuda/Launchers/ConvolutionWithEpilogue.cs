using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// A convolution with bias, residual and relu: in one launch by cuDNN ("cudnn"), or ("separate") the convolution in whatever way is its
/// own best and one generated launch over its result.
/// </summary>
internal sealed class ConvolutionWithEpilogue : CudaKernel
{
    private readonly CudaKernel _convolution;
    private readonly LaunchShape _shape;
    private readonly long _filters;
    private readonly long _plane;

    private ConvolutionWithEpilogue(Node node, CudaLimits limits) : base(node)
    {
        var op = Of(node);
        var y = node.Outputs[0];
        _convolution = CudaKernels.Create(op.Alone.Apply(node.Inputs[0], node.Inputs[1]), limits)!;
        (_filters, _plane) = op.ChannelsLast ? (y.Shape[3], 1) : (y.Shape[1], y.Shape.Product(2, 4));
        _shape = new LaunchShape(new Dim3((uint)limits.Blocks(y.Type.Elements, 256)), new Dim3(256));
        Requests =
        [
            .. _convolution.Requests,
            new KernelRequest("convolution_epilogue", "convolution_epilogue")
            {
                GeneratedText = ConvolutionSource.Epilogue,
                Defines =
                [
                    KernelRequest.Define("STORAGE", y.DType), ("COMPUTE", KernelRequest.ComputeType(y.DType)), ("CHANNELS_LAST", "0"),
                    KernelRequest.Define("RESIDUAL", op.Residual ? 1 : 0), KernelRequest.Define("RELU", op.Relu ? 1 : 0),
                ],
            },
        ];
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public override long WorkspaceBytes => _convolution.WorkspaceBytes;

    public override string Decision => $"{_convolution.Decision} + {Describe(Requests[^1])}";

    public override string? Way => $"{_convolution.Way ?? "own"}, then its epilogue";

    public static CudaKernel Create(Node node, CudaLimits limits)
    {
        var op = Of(node);
        var (x, w, y) = (node.Inputs[0].Shape, node.Inputs[1].Shape, node.Outputs[0].Shape);
        var problem = op.ChannelsLast
            ? ConvProblem.ChannelsLast(ConvRole.Forward, op.Geometry, x, w, y)
            : new ConvProblem(ConvRole.Forward, op.Geometry, x, w, y, false);
        limits.Allows("cudnn");
        limits.Allows("separate");
        ConvolutionWithEpilogue Separate() => new(node, limits);
        if (!limits.HasCudnn || problem.IsEmpty || node.Outputs[0].DType == DType.F64 || limits.Variant is not (null or "cudnn")) return Separate();
        return new ConvolutionKernel(
            node, limits, problem, [new ConvolutionKernel.OwnWay("separate", Separate(), Separate)], new ConvEpilogue(op.Residual, op.Relu));
    }

    /// <summary>A convolution with a bias is one with the least of epilogues.</summary>
    private static ConvolutionEpilogueOp Of(Node node) =>
        node.Op as ConvolutionEpilogueOp ?? new ConvolutionEpilogueOp(((Conv2dOp)node.Op).Geometry, false, false, false);

    public override void Launch(CudaStream stream)
    {
        if (Node.Outputs[0].Type.Elements == 0) return;
        _convolution.Launch(stream);
        var arguments = new KernelArguments();
        arguments.Add(Out(0));
        arguments.Add(In(2));
        arguments.Add(InputCount > 3 ? In(3) : default);
        arguments.Add(_filters);
        arguments.Add(_plane);
        arguments.Add(Node.Outputs[0].Type.Elements);
        Function(Requests.Count - 1).Launch(stream, _shape, ref arguments);
    }

    public override void Dispose()
    {
        _convolution.Dispose();
        base.Dispose();
    }

    protected override void Bound() => _convolution.Bind(Library!, [Out(0)], [In(0), In(1)], Workspace, default);
}
