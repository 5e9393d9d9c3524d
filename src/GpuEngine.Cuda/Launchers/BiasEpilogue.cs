using System.Numerics;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// y[m, n] = x[m, k] w[n, k]^T + b[n] + r[m, n], then relu or not, by cuBLASLt in one launch: in column-major terms Y' = W X' with the
/// bias along Y' 's rows and the residual as C. The algorithm is the heuristic's first, chosen once for the addresses' alignment.
/// </summary>
internal sealed unsafe class BiasEpilogue : IDisposable
{
    private readonly CublasLtHandle _handle;
    private readonly CublasLtMatmulDesc _desc;
    private readonly CublasLtMatrixLayout _w;
    private readonly CublasLtMatrixLayout _x;
    private readonly CublasLtMatrixLayout _y;
    private readonly long _workspaceBytes;
    private readonly bool _residual;
    private CublasLtMatmulAlgo _algo;

    private BiasEpilogue(
        CublasLtHandle handle, Product p, cudaDataType_t type, cublasComputeType_t compute, DevicePointer bias,
        long workspaceBytes)
    {
        _handle = handle;
        _workspaceBytes = workspaceBytes;
        _residual = p.Residual;
        CublasLt.cublasLtMatmulDescCreate(out _desc, compute, cudaDataType_t.CUDA_R_32F).ThrowIfFailed();
        Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_TRANSA, (int)cublasOperation_t.CUBLAS_OP_T);
        Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_TRANSB, (int)cublasOperation_t.CUBLAS_OP_N);
        Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_EPILOGUE, (int)Epilogue(p));
        if (p.Bias)
        {
            Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.Value);
            Set(cublasLtMatmulDescAttributes_t.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int)type);
        }

        CublasLt.cublasLtMatrixLayoutCreate(out _w, type, (ulong)p.K, (ulong)p.N, p.K).ThrowIfFailed();
        CublasLt.cublasLtMatrixLayoutCreate(out _x, type, (ulong)p.K, (ulong)p.M, p.K).ThrowIfFailed();
        CublasLt.cublasLtMatrixLayoutCreate(out _y, type, (ulong)p.N, (ulong)p.M, p.N).ThrowIfFailed();
    }

    /// <summary>Prepares the call; null when cuBLASLt has no algorithm for it.</summary>
    public static BiasEpilogue? Create(
        CublasLtHandle handle, Product p, cudaDataType_t type, cublasComputeType_t compute, long workspaceBytes,
        DevicePointer y, DevicePointer x, DevicePointer w, DevicePointer bias, DevicePointer residual)
    {
        var epilogue = new BiasEpilogue(handle, p, type, compute, bias, workspaceBytes);
        if (epilogue.Choose(y, x, w, p.Residual ? residual : y)) return epilogue;
        epilogue.Dispose();
        return null;
    }

    /// <summary>Queues the product; without a residual that address is not looked at.</summary>
    public void Launch(DevicePointer y, DevicePointer x, DevicePointer w, DevicePointer residual, DevicePointer workspace, CudaStream stream)
    {
        float one = 1, beta = _residual ? 1 : 0;
        var c = _residual ? residual : y;
        fixed (CublasLtMatmulAlgo* algo = &_algo)
        {
            CublasLt.cublasLtMatmul(
                _handle, _desc, &one, w.Raw, _w, x.Raw, _x, &beta, c.Raw, _y, y.Raw, _y, algo, workspace.Raw,
                (nuint)_workspaceBytes, stream.Raw).ThrowIfFailed();
        }
    }

    public void Dispose()
    {
        // Host objects whose destruction only fails for a handle that is none.
        _ = CublasLt.cublasLtMatrixLayoutDestroy(_w);
        _ = CublasLt.cublasLtMatrixLayoutDestroy(_x);
        _ = CublasLt.cublasLtMatrixLayoutDestroy(_y);
        _ = CublasLt.cublasLtMatmulDescDestroy(_desc);
    }

    private bool Choose(DevicePointer y, DevicePointer x, DevicePointer w, DevicePointer c)
    {
        CublasLt.cublasLtMatmulPreferenceCreate(out var preference).ThrowIfFailed();
        try
        {
            var bytes = (ulong)_workspaceBytes;
            CublasLt.cublasLtMatmulPreferenceSetAttribute(
                preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                sizeof(ulong)).ThrowIfFailed();
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, w);
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x);
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c);
            Align(preference, cublasLtMatmulPreferenceAttributes_t.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, y);
            CublasLtMatmulHeuristicResult result;
            var status = CublasLt.cublasLtMatmulAlgoGetHeuristic(
                _handle, _desc, _w, _x, _y, _y, preference, 1, &result, out var found);
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

    private static cublasLtEpilogue_t Epilogue(Product p) => (p.Bias, p.Relu) switch
    {
        (true, true) => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_RELU_BIAS,
        (true, false) => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_BIAS,
        (false, true) => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_RELU,
        _ => cublasLtEpilogue_t.CUBLASLT_EPILOGUE_DEFAULT,
    };

    private static void Align(CublasLtMatmulPreference preference, cublasLtMatmulPreferenceAttributes_t which, DevicePointer address)
    {
        var alignment = 1u << Math.Min(8, BitOperations.TrailingZeroCount(address.Value));
        CublasLt.cublasLtMatmulPreferenceSetAttribute(preference, which, &alignment, sizeof(uint)).ThrowIfFailed();
    }

    private void Set<T>(cublasLtMatmulDescAttributes_t attribute, T value) where T : unmanaged =>
        CublasLt.cublasLtMatmulDescSetAttribute(_desc, attribute, &value, (nuint)sizeof(T)).ThrowIfFailed();
}
