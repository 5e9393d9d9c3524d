using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// The gradients of a linear layer's weight and bias: one product by cuBLASLt whose epilogue sums dy over the rows; where it has no
/// algorithm for that, a product and a sum. Tunable: "bias_gradient_epilogue" (1, 0).
/// </summary>
internal sealed class ParameterGradients : CudaKernel
{
    private readonly Product _product;
    private readonly CudaLimits _limits;
    private readonly CudaKernel _weight;
    private readonly CudaKernel _bias;
    private BiasEpilogue? _epilogue;

    private ParameterGradients(Node node, CudaLimits limits, Product product, CudaKernel weight, CudaKernel bias) : base(node)
    {
        (_product, _limits, _weight, _bias) = (product, limits, weight, bias);
        Requests = [.. weight.Requests, .. bias.Requests];
        WorkspaceBytes = Math.Max(CublasProduct.WorkspaceOf(limits), bias.WorkspaceBytes);
    }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    public override long WorkspaceBytes { get; }

    /// <summary>Whether it is one launch; known once bound.</summary>
    internal bool UsesEpilogue => _epilogue is not null;

    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var (dy, x) = (node.Inputs[0], node.Inputs[1]);
        if (!limits.HasCublas || !limits.HasCublasLt || dy.DType is not (DType.F32 or DType.BF16)) return null;
        if (limits.Tuned("bias_gradient_epilogue", 1) == 0) return null;
        var product = new Product(dy.DType, 1, dy.Shape[1], x.Shape[1], dy.Shape[0], TransposeA: true, TransposeB: false, Bias: true);
        if (!CublasProduct.Fits(product)) return null;
        var weight = CudaKernels.Create(F.MatMul(dy, x, transposeA: true).Node, limits);
        var bias = CudaKernels.Create(F.Sum(dy, [0]).Node, limits);
        return weight is null || bias is null ? null : new ParameterGradients(node, limits, product, weight, bias);
    }

    public override void Launch(CudaStream stream)
    {
        if (_epilogue is not null)
        {
            _epilogue.Launch(Out(0), In(0), In(1), default, Workspace, stream);
            return;
        }

        _weight.Launch(stream);
        _bias.Launch(stream);
    }

    public override void Dispose()
    {
        _epilogue?.Dispose();
        _weight.Dispose();
        _bias.Dispose();
        base.Dispose();
    }

    protected override void Bound()
    {
        _epilogue = BiasEpilogue.Parameters(
            Library!.CublasLt(), _product, CublasProduct.TypeOf(_product.DType), CublasProduct.ComputeType(_product.DType, _limits),
            CublasProduct.WorkspaceOf(_limits), Out(0), Out(1), In(0), In(1));
        if (_epilogue is not null) return;
        _weight.Bind(Library, [Out(0)], [In(0), In(1)], Workspace, default);
        _bias.Bind(Library, [Out(1)], [In(0)], Workspace, default);
    }
}
