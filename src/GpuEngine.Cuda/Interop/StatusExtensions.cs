using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>
/// <c>call(...).ThrowIfFailed()</c>, once per status type, so that a status of one library cannot be checked as another's.
/// The comparison is inlined; the throw is not.
/// </summary>
internal static class StatusExtensions
{
    extension(CUresult status)
    {
        public void ThrowIfFailed([CallerArgumentExpression(nameof(status))] string call = "")
        {
            if (status != CUresult.CUDA_SUCCESS)
                Throw(CudaException.From(status, OneLine(call)));
        }
    }

    extension(nvrtcResult status)
    {
        public void ThrowIfFailed([CallerArgumentExpression(nameof(status))] string call = "")
        {
            if (status != nvrtcResult.NVRTC_SUCCESS)
                Throw(CudaException.From(status, OneLine(call)));
        }
    }

    extension(cublasStatus_t status)
    {
        /// <summary>cuBLAS and cuBLASLt share this type; the call text tells them apart.</summary>
        public void ThrowIfFailed([CallerArgumentExpression(nameof(status))] string call = "")
        {
            if (status != cublasStatus_t.CUBLAS_STATUS_SUCCESS)
                ThrowCublas(status, call);
        }
    }

    extension(cudnnStatus_t status)
    {
        public void ThrowIfFailed([CallerArgumentExpression(nameof(status))] string call = "")
        {
            if (status != cudnnStatus_t.CUDNN_STATUS_SUCCESS)
                Throw(CudaException.From(status, OneLine(call)));
        }
    }

    extension(ncclResult_t status)
    {
        /// <summary>An asynchronous start (<c>ncclInProgress</c>) is no failure.</summary>
        public void ThrowIfFailed([CallerArgumentExpression(nameof(status))] string call = "")
        {
            if (status is not (ncclResult_t.ncclSuccess or ncclResult_t.ncclInProgress))
                Throw(CudaException.From(status, OneLine(call)));
        }
    }

    [DoesNotReturn]
    private static void ThrowCublas(cublasStatus_t status, string call)
    {
        var library = call.Contains("cublasLt", StringComparison.Ordinal) ? CudaLibrary.CublasLt : CudaLibrary.Cublas;
        throw CudaException.From(status, library, OneLine(call));
    }

    [DoesNotReturn]
    private static void Throw(CudaException exception) => throw exception;

    /// <summary>A call that spans several lines in the source, joined by single blanks.</summary>
    internal static string OneLine(string call) =>
        string.Join(' ', call.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
}
