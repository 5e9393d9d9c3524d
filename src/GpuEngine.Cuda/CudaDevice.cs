using GpuEngine.Core.Devices;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda;

/// <summary>
/// A CUDA device, real or simulated: runs any plan. Primitives without a hand-written kernel run through kernels generated at
/// run time; fused ops without one run by their decompositions.
/// </summary>
public sealed class CudaDevice : IDevice
{
    private readonly CudaPlanTarget _target;

    /// <param name="ordinal">The device, from 0.</param>
    /// <param name="options">How plans are run.</param>
    /// <exception cref="Core.UserException">No driver, no such device, or no NVRTC.</exception>
    public CudaDevice(int ordinal = 0, CudaDeviceOptions? options = null)
    {
        Options = options ?? new CudaDeviceOptions();
        Context = CudaContext.Open(ordinal, Options.SyncLaunches);
        Name = $"{(NativeLibraries.IsSimulated ? "sim" : "cuda")}:{ordinal}";
        var limits = CudaLimits.Of(Context.Properties) with
        {
            HasCublas = Options.UseCublas && Exports(CudaLibrary.Cublas, "cublasGemmEx"),
            HasCublasLt = Options.UseCublas && Exports(CudaLibrary.CublasLt, "cublasLtMatmul"),
            HasCudnn = Options.UseCudnn && Exports(CudaLibrary.Cudnn, "cudnnConvolutionForward"),
            MeasuresConvolutions = Options.MeasureConvolutions ?? !NativeLibraries.IsSimulated,
            AllowTf32 = Options.AllowTf32,
            Variant = Options.Variant,
            Tuning = Options.Tuning,
        };
        _target = new CudaPlanTarget(limits, Options);
        Stream = Context.CreateStream();
        Library = new KernelLibrary(
            Context, new KernelCache(Options.KernelCacheFolder, Options.Warn), new AlgorithmCache(Options.KernelCacheFolder), Options.Warn);
    }

    public string Name { get; }

    public IPlanTarget Target => _target;

    public CudaDeviceOptions Options { get; }

    public CudaContext Context { get; }

    /// <summary>What launchers plan with.</summary>
    public CudaLimits Limits => _target.Limits;

    internal CudaPlanTarget PlanTarget => _target;

    /// <summary>The stream that all work of this device is queued on.</summary>
    public CudaStream Stream { get; }

    /// <summary>Compiled kernels; the cache's counters tell how many had to be compiled.</summary>
    public KernelLibrary Library { get; }

    public IVariableStore CreateStore() => new CudaVariableStore(this);

    public IExecutable Load(ExecutionPlan plan, IVariableStore store) => new CudaExecutable(this, plan, (CudaVariableStore)store);

    public void Dispose()
    {
        Library.Dispose();
        Stream.Dispose();
        Context.Dispose();
    }

    /// <summary>Memory of zeros; the text says in messages what it is for.</summary>
    /// <exception cref="OutOfDeviceMemoryException">There is not that much.</exception>
    internal DeviceMemory AllocateZeroed(long bytes, string purpose)
    {
        var memory = Context.Allocate(bytes, purpose);
        if (bytes > 0) Stream.FillBytes(memory.Span<byte>(), 0);
        return memory;
    }

    /// <summary>Waits until nothing uses memory that is about to be given back.</summary>
    internal void Drain()
    {
        try
        {
            Stream.Synchronize();
        }
        catch (CudaException)
        {
            // The device's errors stay: whoever waits or launches next is told. Disposing must go on.
        }
    }

    // The simulator is one file for all libraries and need not have every function.
    private static bool Exports(CudaLibrary library, string function) => NativeLibraries.FindExport(library, function) != 0;
}
