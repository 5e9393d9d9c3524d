using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>A compilation in progress.</summary>
internal readonly record struct NvrtcProgram(nint Value);

/// <summary>Status of every NVRTC call: all codes of nvrtc.h up to CUDA 13.0.</summary>
internal enum nvrtcResult
{
    NVRTC_SUCCESS = 0,
    NVRTC_ERROR_OUT_OF_MEMORY = 1,
    NVRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
    NVRTC_ERROR_INVALID_INPUT = 3,
    NVRTC_ERROR_INVALID_PROGRAM = 4,
    NVRTC_ERROR_INVALID_OPTION = 5,
    NVRTC_ERROR_COMPILATION = 6,
    NVRTC_ERROR_BUILTIN_OPERATION_FAILURE = 7,
    NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION = 8,
    NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION = 9,
    NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID = 10,
    NVRTC_ERROR_INTERNAL_ERROR = 11,
    NVRTC_ERROR_TIME_FILE_WRITE_FAILED = 12,
    NVRTC_ERROR_NO_PCH_CREATE_ATTEMPTED = 13,
    NVRTC_ERROR_PCH_CREATE_HEAP_EXHAUSTED = 14,
    NVRTC_ERROR_PCH_CREATE = 15,
    NVRTC_ERROR_CANCELLED = 16,
    NVRTC_ERROR_TIME_TRACE_FILE_WRITE_FAILED = 17,
}

/// <summary>The run-time compiler (nvrtc.h of CUDA 12.6, compared with the bindings generated from 13.0).</summary>
internal static unsafe partial class Nvrtc
{
    public const string Library = "nvrtc";

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcVersion(out int major, out int minor);

    [LibraryImport(Library)]
    public static partial byte* nvrtcGetErrorString(nvrtcResult result);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetNumSupportedArchs(out int count);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetSupportedArchs(int* archs);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcCreateProgram(
        out NvrtcProgram program, byte* source, byte* name, int headerCount, byte** headers, byte** includeNames);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcDestroyProgram(ref NvrtcProgram program);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcCompileProgram(NvrtcProgram program, int optionCount, byte** options);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetProgramLogSize(NvrtcProgram program, out nuint bytes);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetProgramLog(NvrtcProgram program, byte* log);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetCUBINSize(NvrtcProgram program, out nuint bytes);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetCUBIN(NvrtcProgram program, byte* cubin);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetPTXSize(NvrtcProgram program, out nuint bytes);

    [LibraryImport(Library)]
    public static partial nvrtcResult nvrtcGetPTX(NvrtcProgram program, byte* ptx);
}
