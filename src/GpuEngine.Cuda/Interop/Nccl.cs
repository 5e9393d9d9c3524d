using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>One rank's membership in a group.</summary>
internal readonly record struct NcclComm(nint Value);

/// <summary>The 128 bytes that rank 0 makes and every rank must receive before the group can form.</summary>
[InlineArray(128)]
internal struct ncclUniqueId
{
    private byte _first;
}

/// <summary>
/// Status of every NCCL call (nccl.h of 2.30). <c>ncclTimeout</c> is new there; earlier versions used 8 as a count.
/// </summary>
internal enum ncclResult_t
{
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7,
    ncclTimeout = 8,
}

/// <summary>Element type of a collective.</summary>
internal enum ncclDataType_t
{
    ncclInt8 = 0,
    ncclUint8 = 1,
    ncclInt32 = 2,
    ncclUint32 = 3,
    ncclInt64 = 4,
    ncclUint64 = 5,
    ncclFloat16 = 6,
    ncclFloat32 = 7,
    ncclFloat64 = 8,
    ncclBfloat16 = 9,
}

/// <summary>Reduction of a collective.</summary>
internal enum ncclRedOp_t
{
    ncclSum = 0,
    ncclProd = 1,
    ncclMax = 2,
    ncclMin = 3,
    ncclAvg = 4,
}

/// <summary>NCCL 2 (nccl.h of 2.30; every call here exists since 2.14). Counts are elements, not bytes.</summary>
internal static unsafe partial class Nccl
{
    public const string Library = "nccl";

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclGetVersion(out int version);

    [LibraryImport(Library)]
    public static partial byte* ncclGetErrorString(ncclResult_t result);

    /// <summary>The last error in words; a null communicator means "of this process".</summary>
    [LibraryImport(Library)]
    public static partial byte* ncclGetLastError(NcclComm comm);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclGetUniqueId(out ncclUniqueId id);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommInitRank(out NcclComm comm, int ranks, ncclUniqueId id, int rank);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommInitAll(NcclComm* comms, int devices, int* deviceList);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommFinalize(NcclComm comm);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommDestroy(NcclComm comm);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommAbort(NcclComm comm);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommGetAsyncError(NcclComm comm, out ncclResult_t asyncError);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommCount(NcclComm comm, out int count);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommUserRank(NcclComm comm, out int rank);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclCommCuDevice(NcclComm comm, out int device);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclAllReduce(
        CUdeviceptr send, CUdeviceptr receive, nuint count, ncclDataType_t type, ncclRedOp_t op, NcclComm comm,
        CUstream stream);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclBroadcast(
        CUdeviceptr send, CUdeviceptr receive, nuint count, ncclDataType_t type, int root, NcclComm comm,
        CUstream stream);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclReduceScatter(
        CUdeviceptr send, CUdeviceptr receive, nuint receiveCount, ncclDataType_t type, ncclRedOp_t op, NcclComm comm,
        CUstream stream);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclAllGather(
        CUdeviceptr send, CUdeviceptr receive, nuint sendCount, ncclDataType_t type, NcclComm comm, CUstream stream);

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclGroupStart();

    [LibraryImport(Library)]
    public static partial ncclResult_t ncclGroupEnd();
}
