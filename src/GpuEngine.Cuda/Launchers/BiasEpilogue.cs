using System.Numerics;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// A product by cuBLASLt with what comes behind it, in one launch. Forward: y[m, n] = x[m, k] w[n, k]^T + b[n] + r[m, n], then relu or not;
/// in column-major terms Y' = W X' with the bias along Y' 's rows and the residual as C. Parameters: dw[m, n] = dy[k, m]^T x[k, n] and
/// db[m], the sums of dy over k; DW' = X' DY'^T with the sums of its second operand. The algorithm is the heuristic's first, chosen
/// once for the addresses' alignment.
/// </summary>
internal sealed unsafe class BiasEpilogue : IDisposable
{
    private readonly CublasLtHandle _handle;
    private readonly CublasLtMatmulDesc _desc;
    private readonly CublasLtMatrixLayout _a;
    private readonly CublasLtMatrixLayout _b;
    private readonly CublasLtMatrixLayout _d;
    private readonly long _workspaceBytes;
    private readonly bool _residual;
    private CublasLtMatmulAlgo _algo;

    private BiasEpilogue(
        CublasLtHandle handle, Product p, cublasLtEpilogue_t epilogue, cudaDataType_t type, cublasComputeType_t compute, DevicePointer bias,
        long workspaceBytes)
    {
        _handle = handle;
        _workspaceBytes = workspaceBytes;
        _residual = p.Residual;
        CublasLt.cublasLtMatmulDescCreate(out _desc, compute, cudaDataType_t.CUDA_R_32F).ThrowIfFailed();
        Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_TRANSA, Operation(p.TransposeB));
        Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_TRANSB, Operation(p.TransposeA));
        Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_EPILOGUE, (int)epilogue);
        if (p.Bias)
        {
            Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.Value);
            Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int)type);
        }

        // The second operand in row-major terms is the first in column-major ones.
        _a = Layout(type, p.TransposeB ? p.K : p.N, p.TransposeB ? p.N : p.K);
        _b = Layout(type, p.TransposeA ? p.M : p.K, p.TransposeA ? p.K : p.M);
        _d = Layout(type, p.N, p.M);
    }

    /// <summary>
    /// Prepares x w^T with the bias, the residual and relu that <paramref name="p"/> says; null when cuBLASLt has no algorithm for it.
    /// </summary>
    public static BiasEpilogue? Forward(
        CublasLtHandle handle, Product p, cudaDataType_t type, cublasComputeType_t compute, long workspaceBytes,
        DevicePointer y, DevicePointer x, DevicePointer w, DevicePointer bias, DevicePointer residual)
    {
        var epilogue = (p.Bias, p.Relu) switch
        {
            (true, true) => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_RELU_BIAS,
            (true, false) => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_BIAS,
            (false, true) => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_RELU,
            _ => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_DEFAULT,
        };
        return Chosen(new BiasEpilogue(handle, p, epilogue, type, compute, bias, workspaceBytes), y, x, w, p.Residual ? residual : y);
    }

    /// <summary>Prepares dy^T x with the sums of dy over its rows; null when cuBLASLt has no algorithm for it.</summary>
    public static BiasEpilogue? Parameters(
        CublasLtHandle handle, Product p, cudaDataType_t type, cublasComputeType_t compute, long workspaceBytes,
        DevicePointer dw, DevicePointer db, DevicePointer dy, DevicePointer x) =>
        Chosen(new BiasEpilogue(handle, p, cublasLtEpilogue_t.CUBLASLT_EPILOGUE_BGRADB, type, compute, db, workspaceBytes), dw, dy, x, dw);

    /// <summary>Queues the product d = a b of row-major operands; without a residual that address is not looked at.</summary>
    public void Launch(DevicePointer d, DevicePointer a, DevicePointer b, DevicePointer residual, DevicePointer workspace, CudaStream stream)
    {
        float one = 1, beta = _residual ? 1 : 0;
        var c = _residual ? residual : d;
        fixed (CublasLtMatmulAlgo* algo = &_algo)
        {
            CublasLt.cublasLtMatmul(
                _handle, _desc, &one, b.Raw, _a, a.Raw, _b, &beta, c.Raw, _d, d.Raw, _d, algo, workspace.Raw,
                (nuint)_workspaceBytes, stream.Raw).ThrowIfFailed();
        }
    }

    public void Dispose()
    {
        // Host objects whose destruction only fails for a handle that is none.
        _ = CublasLt.cublasLtMatrixLayoutDestroy(_a);
        _ = CublasLt.cublasLtMatrixLayoutDestroy(_b);
        _ = CublasLt.cublasLtMatrixLayoutDestroy(_d);
        _ = CublasLt.cublasLtMatmulDescDestroy(_desc);
    }

    private bool Choose(DevicePointer d, DevicePointer a, DevicePointer b, DevicePointer c)
    {
        CublasLt.cublasLtMatmulPreferenceCreate(out var preference).ThrowIfFailed();
        try
        {
            var bytes = (ulong)_workspaceBytes;
            CublasLt.cublasLtMatmulPreferenceSetAttribute(
                preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                sizeof(ulong)).ThrowIfFailed();
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b);
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a);
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c);
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, d);
            CublasLtMatmulHeuristicResult result;
            var status = CublasLt.cublasLtMatmulAlgoGetHeuristic(
                _handle, _desc, _a, _b, _d, _d, preference, 1, &result, out var found);
            if (status == cublasStatus_t.CUBLAS_STATUS_NOT_SUPPORTED) return false;
            status.ThrowIfFailed("cublasLtMatmulAlgoGetHeuristic");
            if (found == 0) return false;
            _algo = result.algo;
            return result.state == cublasStatus_t.CUBLAS_STATUS_SUCCESS;
        }
        finally
        {
            _ = CublasLt.cublasLtMatmulPreferenceDestroy(preference);
        }
    }

    private static BiasEpilogue? Chosen(BiasEpilogue epilogue, DevicePointer d, DevicePointer a, DevicePointer b, DevicePointer c)
    {
        if (epilogue.Choose(d, a, b, c)) return epilogue;
        epilogue.Dispose();
        return null;
    }

    private static int Operation(bool transpose) => (int)(transpose ? cublasOperation_t.CUBLAS_OP_T : cublasOperation_t.CUBLAS_OP_N);

    private static CublasLtMatrixLayout Layout(cudaDataType_t type, long rows, long columns)
    {
        CublasLt.cublasLtMatrixLayoutCreate(out var layout, type, (ulong)rows, (ulong)columns, rows).ThrowIfFailed();
        return layout;
    }

    private static void Align(CublasLtMatmulPreference preference, cublasLtMatmulPreferenceAttributes_t which, DevicePointer address)
    {
        var alignment = 1u << Math.Min(8, BitOperations.TrailingZeroCount(address.Value));
        CublasLt.cublasLtMatmulPreferenceSetAttribute(preference, which, &alignment, sizeof(uint)).ThrowIfFailed();
    }

    private void Set<T>(cublasLtMatmulDescAttributes_t attribute, T value) where T : unmanaged =>
        CublasLt.cublasLtMatmulDescSetAttribute(_desc, attribute, &value, (nuint)sizeof(T)).ThrowIfFailed();
}
