using System.Runtime.InteropServices;
using System.Text;

namespace GpuEngine.Cuda.Interop;

/// <summary>A call into one of the CUDA libraries failed; the message holds the call as written in the source.</summary>
public class CudaException : Exception
{
    internal CudaException(CudaLibrary library, int code, string name, string text, string call, string? note = null)
        : base($"{call} failed: {name} ({library.DisplayName()} status {code}): {text}." + (note is null ? "" : $" {note}"))
    {
        Library = library;
        Code = code;
        Name = name;
        Text = text;
        Call = call;
    }

    /// <summary>The library that refused.</summary>
    public CudaLibrary Library { get; }

    /// <summary>The status as a number, exact also when this build does not know its name.</summary>
    public int Code { get; }

    /// <summary>The status as its header names it, such as CUDA_ERROR_ILLEGAL_ADDRESS.</summary>
    public string Name { get; }

    /// <summary>The library's own description.</summary>
    public string Text { get; }

    /// <summary>The call that failed, as written in the source.</summary>
    public string Call { get; }

    internal static unsafe CudaException From(CUresult status, string call, string? note = null)
    {
        byte* name = null;
        byte* text = null;
        // A driver older than the code answers INVALID_VALUE and leaves both null.
        if (NativeLibraries.IsAvailable(CudaLibrary.Driver))
        {
            _ = CuDriver.cuGetErrorName(status, &name);
            _ = CuDriver.cuGetErrorString(status, &text);
        }

        return new CudaException(
            CudaLibrary.Driver, (int)status, ReadOr(name, status.ToString()), ReadOr(text, "no description"), call, note);
    }

    internal static unsafe CudaException From(nvrtcResult status, string call) =>
        new(CudaLibrary.Nvrtc, (int)status, status.ToString(),
            ReadOr(Nvrtc.nvrtcGetErrorString(status), "no description"), call);

    internal static unsafe CudaException From(cublasStatus_t status, CudaLibrary library, string call)
    {
        var text = library == CudaLibrary.CublasLt
            ? CublasLt.cublasLtGetStatusString(status)
            : Cublas.cublasGetStatusString(status);
        return new CudaException(library, (int)status, status.ToString(), ReadOr(text, "no description"), call);
    }

    internal static unsafe CudaException From(cudnnStatus_t status, string call)
    {
        const int Capacity = 1024;
        var detail = stackalloc byte[Capacity];
        detail[0] = 0;
        Cudnn.cudnnGetLastErrorString(detail, Capacity);
        return new CudaException(
            CudaLibrary.Cudnn, (int)status, ReadOr(Cudnn.cudnnGetErrorString(status), status.ToString()),
            ReadOr(detail, "no description"), call);
    }

    internal static unsafe CudaException From(ncclResult_t status, string call)
    {
        var text = ReadOr(Nccl.ncclGetErrorString(status), "no description");
        var last = ReadOr(Nccl.ncclGetLastError(default), "");
        return new CudaException(
            CudaLibrary.Nccl, (int)status, status.ToString(), last.Length == 0 ? text : $"{text}; {last}", call);
    }

    /// <summary>A C string as one line without a closing full stop, or <paramref name="otherwise"/> for null and "".</summary>
    private static unsafe string ReadOr(byte* text, string otherwise)
    {
        if (text is null)
            return otherwise;
        var read = Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));
        read = read.ReplaceLineEndings(" ").Trim().TrimEnd('.');
        return read.Length == 0 ? otherwise : read;
    }
}
