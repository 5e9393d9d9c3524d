using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

internal readonly record struct CublasLtHandle(nint Value);

internal readonly record struct CublasLtMatmulDesc(nint Value);

internal readonly record struct CublasLtMatrixLayout(nint Value);

internal readonly record struct CublasLtMatmulPreference(nint Value);

/// <summary>An algorithm chosen by the heuristic: opaque, 64 bytes, safe to copy and store.</summary>
[InlineArray(8)]
internal struct CublasLtMatmulAlgo
{
    private ulong _first;
}

/// <summary>One answer of the heuristic, best first.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CublasLtMatmulHeuristicResult
{
    public CublasLtMatmulAlgo algo;
    public nuint workspaceSize;
    public cublasStatus_t state;
    public float wavesCount;
    private readonly long _reserved0;
    private readonly long _reserved1;
}

/// <summary>cuBLASLt (cublasLt.h of CUDA 12.6, compared with the bindings generated from 13.0).</summary>
internal static unsafe partial class CublasLt
{
    public const string Library = "cublasLt";

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtCreate(out CublasLtHandle handle);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtDestroy(CublasLtHandle handle);

    [LibraryImport(Library)]
    public static partial nuint cublasLtGetVersion();

    [LibraryImport(Library)]
    public static partial byte* cublasLtGetStatusString(cublasStatus_t status);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulDescCreate(
        out CublasLtMatmulDesc desc, cublasComputeType_t computeType, cudaDataType_t scaleType);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulDescDestroy(CublasLtMatmulDesc desc);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulDescSetAttribute(
        CublasLtMatmulDesc desc, cublasLtMatmulDescAttributes_t attribute, void* value, nuint bytes);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatrixLayoutCreate(
        out CublasLtMatrixLayout layout, cudaDataType_t type, ulong rows, ulong cols, long ld);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatrixLayoutDestroy(CublasLtMatrixLayout layout);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatrixLayoutSetAttribute(
        CublasLtMatrixLayout layout, cublasLtMatrixLayoutAttribute_t attribute, void* value, nuint bytes);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulPreferenceCreate(out CublasLtMatmulPreference preference);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulPreferenceDestroy(CublasLtMatmulPreference preference);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
        CublasLtMatmulPreference preference, cublasLtMatmulPreferenceAttributes_t attribute, void* value, nuint bytes);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
        CublasLtHandle handle, CublasLtMatmulDesc desc, CublasLtMatrixLayout a, CublasLtMatrixLayout b,
        CublasLtMatrixLayout c, CublasLtMatrixLayout d, CublasLtMatmulPreference preference, int requested,
        CublasLtMatmulHeuristicResult* results, out int returned);

    [LibraryImport(Library)]
    public static partial cublasStatus_t cublasLtMatmul(
        CublasLtHandle handle, CublasLtMatmulDesc desc, void* alpha, CUdeviceptr a, CublasLtMatrixLayout layoutA,
        CUdeviceptr b, CublasLtMatrixLayout layoutB, void* beta, CUdeviceptr c, CublasLtMatrixLayout layoutC,
        CUdeviceptr d, CublasLtMatrixLayout layoutD, CublasLtMatmulAlgo* algo, CUdeviceptr workspace,
        nuint workspaceBytes, CUstream stream);
}
