using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>
/// The CUDA driver API (libcuda.so.1, nvcuda.dll): names as exported, so the <c>_v2</c> that cuda.h hides behind a
/// macro is written out. Source of every signature: cuda.h of CUDA 12.6, compared with the bindings generated from 13.0.
/// No call suppresses the GC transition: each of these may block.
/// </summary>
internal static unsafe partial class CuDriver
{
    public const string Library = "cuda";

    [LibraryImport(Library)]
    public static partial CUresult cuInit(uint flags);

    [LibraryImport(Library)]
    public static partial CUresult cuDriverGetVersion(out int driverVersion);

    [LibraryImport(Library)]
    public static partial CUresult cuGetErrorName(CUresult error, byte** text);

    [LibraryImport(Library)]
    public static partial CUresult cuGetErrorString(CUresult error, byte** text);

    [LibraryImport(Library)]
    public static partial CUresult cuGetProcAddress_v2(
        byte* symbol, out nint pfn, int cudaVersion, ulong flags, out CUdriverProcAddressQueryResult symbolStatus);

    // Devices.

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceGetCount(out int count);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceGet(out CUdevice device, int ordinal);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceGetName(byte* name, int length, CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceGetUuid_v2(out CUuuid uuid, CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceGetPCIBusId(byte* pciBusId, int length, CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceGetAttribute(out int value, CUdevice_attribute attribute, CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceTotalMem_v2(out nuint bytes, CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuDeviceCanAccessPeer(out int canAccess, CUdevice device, CUdevice peer);

    // The primary context, shared with every other library in the process.

    [LibraryImport(Library)]
    public static partial CUresult cuDevicePrimaryCtxRetain(out CUcontext context, CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device);

    [LibraryImport(Library)]
    public static partial CUresult cuCtxSetCurrent(CUcontext context);

    [LibraryImport(Library)]
    public static partial CUresult cuCtxGetCurrent(out CUcontext context);

    [LibraryImport(Library)]
    public static partial CUresult cuCtxSynchronize();

    [LibraryImport(Library)]
    public static partial CUresult cuCtxEnablePeerAccess(CUcontext peer, uint flags);

    [LibraryImport(Library)]
    public static partial CUresult cuCtxGetStreamPriorityRange(out int leastPriority, out int greatestPriority);

    // Memory.

    [LibraryImport(Library)]
    public static partial CUresult cuMemAlloc_v2(out CUdeviceptr pointer, nuint bytes);

    [LibraryImport(Library)]
    public static partial CUresult cuMemFree_v2(CUdeviceptr pointer);

    [LibraryImport(Library)]
    public static partial CUresult cuMemHostAlloc(out nint pointer, nuint bytes, uint flags);

    [LibraryImport(Library)]
    public static partial CUresult cuMemFreeHost(nint pointer);

    [LibraryImport(Library)]
    public static partial CUresult cuMemGetInfo_v2(out nuint free, out nuint total);

    [LibraryImport(Library)]
    public static partial CUresult cuMemcpyHtoD_v2(CUdeviceptr destination, void* source, nuint bytes);

    [LibraryImport(Library)]
    public static partial CUresult cuMemcpyDtoH_v2(void* destination, CUdeviceptr source, nuint bytes);

    [LibraryImport(Library)]
    public static partial CUresult cuMemcpyHtoDAsync_v2(
        CUdeviceptr destination, void* source, nuint bytes, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuMemcpyDtoHAsync_v2(
        void* destination, CUdeviceptr source, nuint bytes, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuMemcpyDtoDAsync_v2(
        CUdeviceptr destination, CUdeviceptr source, nuint bytes, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuMemcpyPeerAsync(
        CUdeviceptr destination, CUcontext destinationContext, CUdeviceptr source, CUcontext sourceContext,
        nuint bytes, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuMemsetD8Async(CUdeviceptr destination, byte value, nuint count, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuMemsetD32Async(CUdeviceptr destination, uint value, nuint count, CUstream stream);

    // Streams and events.

    [LibraryImport(Library)]
    public static partial CUresult cuStreamCreate(out CUstream stream, CUstream_flags flags);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamCreateWithPriority(out CUstream stream, CUstream_flags flags, int priority);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamDestroy_v2(CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamSynchronize(CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamQuery(CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamWaitEvent(CUstream stream, CUevent e, uint flags);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamEndCapture(CUstream stream, out CUgraph graph);

    [LibraryImport(Library)]
    public static partial CUresult cuStreamIsCapturing(CUstream stream, out CUstreamCaptureStatus status);

    [LibraryImport(Library)]
    public static partial CUresult cuEventCreate(out CUevent e, CUevent_flags flags);

    [LibraryImport(Library)]
    public static partial CUresult cuEventDestroy_v2(CUevent e);

    [LibraryImport(Library)]
    public static partial CUresult cuEventRecord(CUevent e, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuEventSynchronize(CUevent e);

    [LibraryImport(Library)]
    public static partial CUresult cuEventQuery(CUevent e);

    /// <summary>
    /// The unsuffixed symbol on purpose: <c>_v2</c> exists only since CUDA 12.8, this one in every driver.
    /// </summary>
    [LibraryImport(Library)]
    public static partial CUresult cuEventElapsedTime(out float milliseconds, CUevent start, CUevent end);
}
