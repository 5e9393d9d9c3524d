using System.Text;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>A compiled image loaded into a context.</summary>
public sealed unsafe class CudaModule : CudaResource
{
    private readonly Dictionary<string, CudaFunction> _functions = [];
    private readonly Lock _gate = new();
    private readonly string _name;

    private CudaModule(CudaContext context, CUmodule module, string name) : base(context, module.Value) => _name = name;

    internal CUmodule Raw => new(Live);

    /// <summary>The kernel called <paramref name="name"/> (as linked: declare kernels <c>extern "C"</c>).</summary>
    /// <exception cref="CudaException">There is none.</exception>
    public CudaFunction Function(string name)
    {
        lock (_gate)
        {
            if (!_functions.TryGetValue(name, out var function))
            {
                Context.EnsureCurrent();
                CuDriver.cuModuleGetFunction(out var raw, Raw, name)
                    .ThrowIfFailed($"cuModuleGetFunction(\"{name}\" in {_name})");
                _functions[name] = function = new CudaFunction(this, name, raw);
            }

            return function;
        }
    }

    /// <summary>The global variable called <paramref name="name"/>, as bytes.</summary>
    public DeviceSpan<byte> Global(string name)
    {
        Context.EnsureCurrent();
        CuDriver.cuModuleGetGlobal_v2(out var pointer, out var bytes, Raw, name)
            .ThrowIfFailed($"cuModuleGetGlobal_v2(\"{name}\" in {_name})");
        return new(new(pointer.Value), (long)bytes);
    }

    internal static CudaModule Load(CudaContext context, CompiledKernel image)
    {
        context.EnsureCurrent();
        const int LogBytes = 8192;
        var log = stackalloc byte[LogBytes];
        log[0] = 0;
        // Only PTX is compiled here, by the driver; for a cubin the log stays empty.
        var options = stackalloc CUjit_option[2];
        var values = stackalloc void*[2];
        options[0] = CUjit_option.CU_JIT_ERROR_LOG_BUFFER;
        values[0] = log;
        options[1] = CUjit_option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
        values[1] = (void*)LogBytes;

        // PTX is text and must end with a zero byte; for a cubin one byte more does no harm.
        var bytes = image.Image.Span;
        var terminated = new byte[bytes.Length + 1];
        bytes.CopyTo(terminated);
        fixed (byte* data = terminated)
        {
            var status = CuDriver.cuModuleLoadDataEx(out var module, data, 2, options, values);
            if (status != CUresult.CUDA_SUCCESS)
            {
                var written = new ReadOnlySpan<byte>(log, LogBytes);
                var text = Encoding.UTF8.GetString(written[..Math.Max(0, written.IndexOf((byte)0))]).Trim();
                throw CudaException.From(status, $"cuModuleLoadDataEx({image.Name} for {image.Architecture})",
                    LoadAdvice(status, context, image) ?? (text.Length == 0 ? null : $"The driver says: {text}"));
            }

            return new(context, module, image.Name);
        }
    }

    private static string? LoadAdvice(CUresult status, CudaContext context, CompiledKernel image) => status switch
    {
        CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION =>
            "NVRTC is newer than the driver: update the driver, or install the NVRTC of the driver's CUDA version.",
        CUresult.CUDA_ERROR_NO_BINARY_FOR_GPU or CUresult.CUDA_ERROR_INVALID_IMAGE =>
            $"The image was compiled for {image.Architecture} and the device is sm_{context.Properties.Architecture}.",
        _ => null,
    };

    private protected override string ReleaseCall => $"cuModuleUnload({_name})";

    private protected override CUresult Release(nint value) => CuDriver.cuModuleUnload(new(value));
}
