using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>Modules, kernels, launches, occupancy and graphs of the driver API.</summary>
internal static unsafe partial class CuDriver
{
    // Modules and functions.

    [LibraryImport(Library)]
    public static partial CUresult cuModuleLoadData(out CUmodule module, void* image);

    [LibraryImport(Library)]
    public static partial CUresult cuModuleLoadDataEx(
        out CUmodule module, void* image, uint optionCount, CUjit_option* options, void** optionValues);

    [LibraryImport(Library)]
    public static partial CUresult cuModuleUnload(CUmodule module);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial CUresult cuModuleGetFunction(out CUfunction function, CUmodule module, string name);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial CUresult cuModuleGetGlobal_v2(
        out CUdeviceptr pointer, out nuint bytes, CUmodule module, string name);

    [LibraryImport(Library)]
    public static partial CUresult cuFuncGetAttribute(out int value, CUfunction_attribute attribute, CUfunction function);

    [LibraryImport(Library)]
    public static partial CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value);

    // Launches: only words and pointers, so the call is a bare jump into the driver.

    [LibraryImport(Library)]
    public static partial CUresult cuLaunchKernel(
        CUfunction function, uint gridDimX, uint gridDimY, uint gridDimZ, uint blockDimX, uint blockDimY,
        uint blockDimZ, uint sharedMemBytes, CUstream stream, void** kernelParams, void** extra);

    [LibraryImport(Library)]
    public static partial CUresult cuLaunchKernelEx(
        CUlaunchConfig* config, CUfunction function, void** kernelParams, void** extra);

    [LibraryImport(Library)]
    public static partial CUresult cuLaunchCooperativeKernel(
        CUfunction function, uint gridDimX, uint gridDimY, uint gridDimZ, uint blockDimX, uint blockDimY,
        uint blockDimZ, uint sharedMemBytes, CUstream stream, void** kernelParams);

    // Occupancy.

    [LibraryImport(Library)]
    public static partial CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(
        out int blocks, CUfunction function, int blockSize, nuint dynamicSharedBytes);

    [LibraryImport(Library)]
    public static partial CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        out int blocks, CUfunction function, int blockSize, nuint dynamicSharedBytes, uint flags);

    [LibraryImport(Library)]
    public static partial CUresult cuOccupancyMaxActiveClusters(
        out int clusters, CUfunction function, CUlaunchConfig* config);

    // Graphs.

    [LibraryImport(Library)]
    public static partial CUresult cuGraphInstantiateWithFlags(out CUgraphExec exec, CUgraph graph, ulong flags);

    [LibraryImport(Library)]
    public static partial CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuGraphUpload(CUgraphExec exec, CUstream stream);

    [LibraryImport(Library)]
    public static partial CUresult cuGraphExecUpdate_v2(
        CUgraphExec exec, CUgraph graph, out CUgraphExecUpdateResultInfo resultInfo);

    [LibraryImport(Library)]
    public static partial CUresult cuGraphExecDestroy(CUgraphExec exec);

    [LibraryImport(Library)]
    public static partial CUresult cuGraphDestroy(CUgraph graph);

    [LibraryImport(Library)]
    public static partial CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode* nodes, nuint* nodeCount);
}
