using System.Collections.Concurrent;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// The kernels of one device: compiled through the cache, loaded once, found by request. Compilation may run on many threads.
/// </summary>
public sealed class KernelLibrary : IDisposable
{
    private readonly ConcurrentDictionary<string, CudaModule> _modules = new();
    private readonly ConcurrentDictionary<string, Lazy<CompiledKernel>> _images = new();
    private readonly NvrtcCompiler _compiler;
    private CudnnHandle _cudnn;
    private CudaStream? _cudnnStream;
    private CublasHandle _cublas;
    private CublasLtHandle _cublasLt;
    private CudaStream? _cublasStream;
    private readonly string _architecture;
    private readonly Action<string> _warn;
    private readonly HashSet<string> _warned = [];

    internal KernelLibrary(CudaContext context, KernelCache cache, AlgorithmCache choices, Action<string> warn)
    {
        Context = context;
        Cache = cache;
        Choices = choices;
        _warn = warn;
        _compiler = new NvrtcCompiler();
        _architecture = _compiler.TargetFor(context.Properties);
    }

    public CudaContext Context { get; }

    /// <summary>Where images come from; its counters tell what had to be compiled.</summary>
    public KernelCache Cache { get; }

    /// <summary>What was chosen by measurement.</summary>
    public AlgorithmCache Choices { get; }

    /// <summary>Tells the user a sentence, the first time for its kind.</summary>
    internal void WarnOnce(string kind, string sentence)
    {
        if (_warned.Add(kind)) _warn(sentence);
    }

    /// <summary>Compiles what is missing, several images at a time; loads nothing yet.</summary>
    /// <exception cref="KernelCompileException">A source has errors; the first in the order of the requests is reported.</exception>
    public void Compile(IEnumerable<KernelRequest> requests)
    {
        var missing = requests.DistinctBy(r => r.ImageKey).Where(r => !_modules.ContainsKey(r.ImageKey)).ToArray();
        var failures = new Exception?[missing.Length];
        Parallel.For(0, missing.Length, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, i =>
        {
            try
            {
                _ = Image(missing[i]);
            }
            catch (Exception exception) when (exception is KernelCompileException or CudaException)
            {
                failures[i] = exception;
            }
        });
        if (failures.FirstOrDefault(f => f is not null) is { } failure)
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
    }

    /// <summary>The kernel of a request, compiled and loaded where that has not happened yet.</summary>
    public CudaFunction Function(KernelRequest request)
    {
        var module = _modules.GetOrAdd(request.ImageKey, _ => Context.LoadModule(Image(request)));
        var function = module.Function(request.Entry);
        if (request.DynamicSharedBytes > Context.Properties.SharedBytesPerBlock - function.StaticSharedBytes)
            function.AllowDynamicShared(request.DynamicSharedBytes);
        return function;
    }

    /// <summary>The device's cuBLAS handle, on this stream; made at the first call.</summary>
    internal CublasHandle Cublas(CudaStream stream)
    {
        Context.EnsureCurrent();
        if (_cublas.Value == 0)
        {
            Interop.Cublas.cublasCreate_v2(out _cublas).ThrowIfFailed();
            Interop.Cublas.cublasSetMathMode(_cublas, cublasMath_t.CUBLAS_DEFAULT_MATH).ThrowIfFailed();
        }

        if (_cublasStream != stream)
        {
            Interop.Cublas.cublasSetStream_v2(_cublas, stream.Raw).ThrowIfFailed();
            _cublasStream = stream;
        }

        return _cublas;
    }

    /// <summary>The device's cuBLASLt handle; made at the first call.</summary>
    internal CublasLtHandle CublasLt()
    {
        Context.EnsureCurrent();
        if (_cublasLt.Value == 0) Interop.CublasLt.cublasLtCreate(out _cublasLt).ThrowIfFailed();
        return _cublasLt;
    }

    /// <summary>The device's cuDNN handle, made at the first call; on this stream unless it is only asked for advice.</summary>
    internal CudnnHandle Cudnn(CudaStream? stream)
    {
        Context.EnsureCurrent();
        if (_cudnn.Value == 0) Interop.Cudnn.cudnnCreate(out _cudnn).ThrowIfFailed();
        if (stream is not null && _cudnnStream != stream)
        {
            Interop.Cudnn.cudnnSetStream(_cudnn, stream.Raw).ThrowIfFailed();
            _cudnnStream = stream;
        }

        return _cudnn;
    }

    public void Dispose()
    {
        if (_cudnn.Value != 0) _ = Interop.Cudnn.cudnnDestroy(_cudnn);
        _cudnn = default;
        if (_cublasLt.Value != 0) _ = Interop.CublasLt.cublasLtDestroy(_cublasLt);
        _cublasLt = default;
        if (_cublas.Value != 0) _ = Interop.Cublas.cublasDestroy_v2(_cublas);
        _cublas = default;
        foreach (var module in _modules.Values) module.Dispose();
        _modules.Clear();
    }

    private CompiledKernel Image(KernelRequest request) => _images.GetOrAdd(request.ImageKey, _ => new(() =>
    {
        var source = new KernelSource(
            request.Source, request.GeneratedText ?? KernelSources.Text(request.Source), KernelSources.Headers);
        return Cache.GetOrCompile(source, request.Options, _architecture, _compiler);
    })).Value;
}
