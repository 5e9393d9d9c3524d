using BenchmarkDotNet.Attributes;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Bench;

/// <summary>
/// What a launch costs the host: through the runtime (arguments packed, context and module checked, name noted) and the driver's call
/// alone with everything prepared, on the simulator with a kernel that does nothing. The difference is our own share; the goal is at most
/// 1 us and 0 bytes. 14 arguments are what the widest norm kernel takes. On a shared machine the shortest iteration is the one to read.
/// </summary>
[InProcess]
[IterationTime(20)]
[WarmupCount(10)]
[IterationCount(200)]
[MinColumn]
[MemoryDiagnoser]
public unsafe class LaunchBench : IDisposable
{
    private const string Source = """
        extern "C" __global__ void nothing(
            float* a, float* b, float* c, float* d, float* e, float* f, float* g, float* h, float* i, float* j, float* k, long long l, long long m, long long n) {}
        extern "C" __global__ void nothing_at_all() {}
        """;

    private CudaContext? _context;
    private CudaStream? _stream;
    private CudaModule? _module;
    private CudaFunction? _function;
    private CUfunction _raw;

    [Params(0, 14)]
    public int Arguments { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        Simulator.Use();
        _context = CudaContext.Open(0, syncLaunches: false);
        _stream = _context.CreateStream();
        var compiler = new NvrtcCompiler();
        var target = compiler.TargetFor(_context.Properties);
        _module = _context.LoadModule(compiler.Compile(new KernelSource("nothing.cu", Source), new CompilerOptions().ToArguments(target), target));
        var name = Arguments == 0 ? "nothing_at_all" : "nothing";
        _function = _module.Function(name);
        CuDriver.cuModuleGetFunction(out _raw, _module.Raw, name).ThrowIfFailed();
    }

    [Benchmark(Baseline = true)]
    public void Driver()
    {
        var pointers = stackalloc void*[14];
        var value = 0L;
        for (var i = 0; i < Arguments; i++) pointers[i] = &value;
        CuDriver.cuLaunchKernel(_raw, 1, 1, 1, 1, 1, 1, 0, _stream!.Raw, pointers, null).ThrowIfFailed();
    }

    [Benchmark]
    public void Runtime()
    {
        var arguments = new KernelArguments();
        for (var i = 0; i < Arguments; i++) arguments.Add(0L);
        _function!.Launch(_stream!, new LaunchShape(1, 1), ref arguments);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _module?.Dispose();
        _stream?.Dispose();
        _context?.Dispose();
        GC.SuppressFinalize(this);
    }
}
