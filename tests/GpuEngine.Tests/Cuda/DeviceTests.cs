using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// One context and stream for a class of tests that run on a device, and the compiler for it. Classes that derive from this run
/// one after the other: devices, options of the simulator and its faults belong to the process.
/// </summary>
[Collection("device")]
public abstract class DeviceTests : IDisposable
{
    private readonly Lazy<CudaContext> _context = new(() => CudaContext.Open());
    private readonly Lazy<CudaStream> _stream;

    protected DeviceTests()
    {
        CudaUnderTest.Require();
        _stream = new(() => Context.CreateStream());
    }

    protected CudaContext Context => _context.Value;

    protected CudaStream Stream => _stream.Value;

    protected static NvrtcCompiler Compiler { get; } = CreateCompiler();

    public virtual void Dispose()
    {
        GC.SuppressFinalize(this);
        if (_stream.IsValueCreated)
            _stream.Value.Dispose();
        if (_context.IsValueCreated)
            _context.Value.Dispose();
    }

    /// <summary>Compiles and loads one source without a cache.</summary>
    protected CudaModule Load(string source, string name = "test.cu", CudaContext? context = null)
    {
        context ??= Context;
        var target = Compiler.TargetFor(context.Properties);
        return context.LoadModule(Compiler.Compile(new(name, source), new CompilerOptions().ToArguments(target), target));
    }

    /// <summary>Device memory that holds <paramref name="values"/>.</summary>
    protected DeviceMemory Upload<T>(params T[] values) where T : unmanaged
    {
        var memory = Context.Allocate((long)values.Length * System.Runtime.CompilerServices.Unsafe.SizeOf<T>(), "test");
        Stream.CopyToDevice<T>(values, memory.Span<T>());
        return memory;
    }

    /// <summary>The contents of device memory, behind all work queued so far.</summary>
    protected T[] Download<T>(DeviceMemory memory) where T : unmanaged
    {
        var values = new T[memory.Span<T>().Length];
        Stream.CopyToHost(memory.Span<T>(), values.AsSpan());
        return values;
    }

    // A null here is seen by no test: each skips before it asks.
    private static NvrtcCompiler CreateCompiler() =>
        NativeLibraries.IsAvailable(CudaLibrary.Nvrtc) ? new NvrtcCompiler() : null!;
}
