namespace GpuEngine.Cuda.Interop;

// One type per handle, so that a stream cannot be passed where a module is meant. Each is exactly one native word
// (CUdevice: one int), which the tests of the layouts hold.

internal readonly record struct CUdevice(int Value);

internal readonly record struct CUdeviceptr(ulong Value);

internal readonly record struct CUcontext(nint Value);

internal readonly record struct CUstream(nint Value);

internal readonly record struct CUevent(nint Value);

internal readonly record struct CUmodule(nint Value);

internal readonly record struct CUfunction(nint Value);

internal readonly record struct CUgraph(nint Value);

internal readonly record struct CUgraphExec(nint Value);

internal readonly record struct CUgraphNode(nint Value);
