using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>A cuBLAS handle: one device, one stream at a time.</summary>
internal readonly record struct CublasHandle(nint Value);

/// <summary>
/// cuBLAS (cublas_api.h of CUDA 12.6, compared with the bindings generated from 13.0). Matrices are column-major:
/// the row-major product C = A B is asked for as C' = B' A'. Matrix arguments are device addresses; alpha and beta are
/// host addresses unless the pointer mode says otherwise.
/// </summary>
internal static unsafe partial class Cublas
{
    public const string Library = "cublas";

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasCreate_v2(out CublasHandle handle);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasDestroy_v2(CublasHandle handle);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasGetVersion_v2(CublasHandle handle, out int version);

    /// <summary>Major, minor and patch version; needs neither handle nor device.</summary>
    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasGetProperty(libraryPropertyType type, out int value);

    [LibraryImport(Library)]
    public static partial byte* cublasGetStatusString(cublasStatus_t status);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasSetStream_v2(CublasHandle handle, CUstream stream);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasSetWorkspace_v2(CublasHandle handle, CUdeviceptr workspace, nuint bytes);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasSetMathMode(CublasHandle handle, cublasMath_t mode);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasSetPointerMode_v2(CublasHandle handle, cublasPointerMode_t mode);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasSgemm_v2(
        CublasHandle handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        void* alpha, CUdeviceptr a, int lda, CUdeviceptr b, int ldb, void* beta, CUdeviceptr c, int ldc);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasSgemmStridedBatched(
        CublasHandle handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        void* alpha, CUdeviceptr a, int lda, long strideA, CUdeviceptr b, int ldb, long strideB,
        void* beta, CUdeviceptr c, int ldc, long strideC, int batchCount);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasGemmEx(
        CublasHandle handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        void* alpha, CUdeviceptr a, cudaDataType_t typeA, int lda, CUdeviceptr b, cudaDataType_t typeB, int ldb,
        void* beta, CUdeviceptr c, cudaDataType_t typeC, int ldc, cublasComputeType_t computeType,
        cublasGemmAlgo_t algo);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasGemmStridedBatchedEx(
        CublasHandle handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
        void* alpha, CUdeviceptr a, cudaDataType_t typeA, int lda, long strideA,
        CUdeviceptr b, cudaDataType_t typeB, int ldb, long strideB,
        void* beta, CUdeviceptr c, cudaDataType_t typeC, int ldc, long strideC, int batchCount,
        cublasComputeType_t computeType, cublasGemmAlgo_t algo);
}
