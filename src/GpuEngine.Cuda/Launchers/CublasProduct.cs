using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// A product by cuBLAS. Row-major C = op(A) op(B) is the column-major C' = op(B)' op(A)'. f32 is computed in f32, TF32 only
/// when asked for; bf16 is summed in f32. Bias, residual and relu go into cuBLASLt's epilogue, else into a second, generated launch.
/// </summary>
internal sealed unsafe class CublasProduct : CudaKernel
{
    private readonly Product _product;
    private readonly cudaDataType_t _type;
    private readonly cublasComputeType_t _compute;
    private readonly LaunchShape _secondShape;
    private readonly bool _useLt;
    private BiasEpilogue? _epilogue;

    public CublasProduct(Node node, CudaLimits limits, Product product) : base(node)
    {
        _product = product;
        (_type, _compute) = (TypeOf(product.DType), ComputeType(product.DType, limits));
        WorkspaceBytes = WorkspaceOf(limits);
        var hasEpilogue = product.Bias || product.HasMore;
        _useLt = hasEpilogue && product is { Batch: 1, DType: not DType.F64 } && limits.HasCublasLt;
        _secondShape = new LaunchShape(new Dim3((uint)limits.Blocks(product.M * product.N, 256)), new Dim3(256));
        Requests = hasEpilogue ? [Second(product)] : [];
    }

    public override long WorkspaceBytes { get; }

    public override IReadOnlyList<KernelRequest> Requests { get; }

    /// <summary>Whether cuBLASLt adds the bias; known once bound.</summary>
    internal bool UsesEpilogue => _epilogue is not null;

    /// <summary>Whether the extents are what cuBLAS takes: 32-bit and not empty.</summary>
    public static bool Fits(Product p) =>
        p.M > 0 && p.N > 0 && p.K > 0 && p.Batch > 0 && Math.Max(Math.Max(p.M, p.N), Math.Max(p.K, p.Batch)) <= int.MaxValue;

    internal static cudaDataType_t TypeOf(DType dtype) => dtype switch
    {
        DType.F64 => cudaDataType_t.CUDA_R_64F,
        DType.BF16 => cudaDataType_t.CUDA_R_16BF,
        _ => cudaDataType_t.CUDA_R_32F,
    };

    internal static cublasComputeType_t ComputeType(DType dtype, CudaLimits limits) => dtype switch
    {
        DType.F64 => cublasComputeType_t.CUBLAS_COMPUTE_64F,
        DType.F32 when limits.AllowTf32 => cublasComputeType_t.CUBLAS_COMPUTE_32F_FAST_TF32,
        _ => cublasComputeType_t.CUBLAS_COMPUTE_32F,
    };

    /// <summary>What NVIDIA recommends: 32 MiB from Hopper on, 4 MiB before.</summary>
    internal static long WorkspaceOf(CudaLimits limits) => limits.Architecture >= 90 ? 32L << 20 : 4L << 20;

    public override void Dispose()
    {
        _epilogue?.Dispose();
        base.Dispose();
    }

    public override void Launch(CudaStream stream)
    {
        if (_epilogue is not null)
        {
            _epilogue.Launch(Out(0), In(0), In(1), Residual, Workspace, stream);
            return;
        }

        var handle = Library!.Cublas(stream);
        Cublas.cublasSetWorkspace_v2(handle, Workspace.Raw, (nuint)WorkspaceBytes).ThrowIfFailed();
        var p = _product;
        // Scale factors are in the compute type and read by the host before the call returns.
        double one64 = 1, zero64 = 0;
        float one32 = 1, zero32 = 0;
        void* one = p.DType == DType.F64 ? &one64 : &one32;
        void* zero = p.DType == DType.F64 ? &zero64 : &zero32;
        var (ta, tb) = (Operation(p.TransposeA), Operation(p.TransposeB));
        var (lda, ldb) = (p.TransposeA ? p.M : p.K, p.TransposeB ? p.K : p.N);
        if (p.Batch == 1)
        {
            Cublas.cublasGemmEx(
                handle, tb, ta, (int)p.N, (int)p.M, (int)p.K, one, In(1).Raw, _type, (int)ldb, In(0).Raw, _type, (int)lda,
                zero, Out(0).Raw, _type, (int)p.N, _compute, cublasGemmAlgo_t.CUBLAS_GEMM_DEFAULT).ThrowIfFailed();
        }
        else
        {
            Cublas.cublasGemmStridedBatchedEx(
                handle, tb, ta, (int)p.N, (int)p.M, (int)p.K, one, In(1).Raw, _type, (int)ldb, p.K * p.N,
                In(0).Raw, _type, (int)lda, p.M * p.K, zero, Out(0).Raw, _type, (int)p.N, p.M * p.N, (int)p.Batch,
                _compute, cublasGemmAlgo_t.CUBLAS_GEMM_DEFAULT).ThrowIfFailed();
        }

        if (Requests.Count == 0) return;
        var arguments = new KernelArguments();
        arguments.Add(Out(0));
        arguments.Add(Bias);
        arguments.Add(Residual);
        arguments.Add(p.N);
        arguments.Add(p.M * p.N);
        Function().Launch(stream, _secondShape, ref arguments);
    }

    protected override void Bound()
    {
        if (!_useLt) return;
        _epilogue = BiasEpilogue.Forward(
            Library!.CublasLt(), _product, _type, _compute, WorkspaceBytes, Out(0), In(0), In(1), Bias, Residual);
    }

    private DevicePointer Bias => _product.Bias ? In(2) : default;

    private DevicePointer Residual => _product.Residual ? In(InputCount - 1) : default;

    private static KernelRequest Second(Product p) => new("epilogue", "epilogue")
    {
        GeneratedText = ProductSource.Epilogue,
        Defines =
        [
            KernelRequest.Define("STORAGE", p.DType), ("COMPUTE", KernelRequest.ComputeType(p.DType)), Flag("BIAS", p.Bias),
            Flag("RESIDUAL", p.Residual), Flag("RELU", p.Relu),
        ],
    };

    private static (string, string) Flag(string name, bool value) => KernelRequest.Define(name, value ? 1 : 0);

    internal static cublasOperation_t Operation(bool transpose) =>
        transpose ? cublasOperation_t.CUBLAS_OP_T : cublasOperation_t.CUBLAS_OP_N;
}
