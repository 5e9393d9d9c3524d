using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using GpuEngine.Core;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda.Runtime;

/// <summary>NVIDIA's run-time compiler, or the simulator's in its place. It needs no device and no context.</summary>
public sealed unsafe class NvrtcCompiler : IKernelCompiler
{
    private readonly int[] _architectures;
    private readonly string _identity;

    /// <summary>Loads NVRTC.</summary>
    /// <exception cref="UserException">It is not installed; the sentence says what to install.</exception>
    public NvrtcCompiler()
    {
        try
        {
            NativeLibraries.Require(CudaLibrary.Nvrtc);
        }
        catch (MissingLibraryException missing)
        {
            throw new UserException(missing.Advice, missing);
        }

        Nvrtc.nvrtcVersion(out var major, out var minor).ThrowIfFailed();
        Version = new Version(major, minor);
        _identity = Identify(Version);
        Nvrtc.nvrtcGetNumSupportedArchs(out var count).ThrowIfFailed();
        _architectures = new int[count];
        fixed (int* archs = _architectures)
            Nvrtc.nvrtcGetSupportedArchs(archs).ThrowIfFailed();
    }

    /// <summary>The CUDA version it belongs to.</summary>
    public Version Version { get; }

    /// <summary>
    /// Compiler and version. The simulator builds kernels anew when they were built without the checks that are now on, so images of
    /// either kind are kept apart.
    /// </summary>
    public string Identity => NativeLibraries.IsSimulated && Cudasim.IsChecking ? _identity + " checked" : _identity;

    /// <summary>Architectures it compiles for, as numbers: 90 for sm_90.</summary>
    public IReadOnlyList<int> Architectures => _architectures;

    /// <summary>
    /// The target for a device: its own binary where this NVRTC knows the device, else PTX of the newest architecture below it,
    /// which the driver finishes.
    /// </summary>
    /// <exception cref="UserException">The device is older than everything this NVRTC compiles for.</exception>
    public string TargetFor(CudaDeviceProperties device) => Target(device.Architecture, _architectures)
        ?? throw new UserException(
            $"NVRTC {Version} compiles for sm_{_architectures.Min()} and newer, and {device.Name} is sm_{device.Architecture}: " +
            "install an NVRTC of an older CUDA version.");

    /// <inheritdoc/>
    public CompiledKernel Compile(KernelSource source, IReadOnlyList<string> options, string architecture)
    {
        var headers = IncludeScanner.Closure(source.Text, source.Headers);
        using var text = new Utf8Strings([source.Text, source.Name]);
        using var headerTexts = new Utf8Strings([.. headers.Select(name => source.Headers[name])]);
        using var headerNames = new Utf8Strings(headers);
        using var arguments = new Utf8Strings(options);
        Nvrtc.nvrtcCreateProgram(
            out var program, text.Items[0], text.Items[1], headers.Count, headerTexts.Items, headerNames.Items)
            .ThrowIfFailed("nvrtcCreateProgram");
        try
        {
            var status = Nvrtc.nvrtcCompileProgram(program, options.Count, arguments.Items);
            var log = ReadLog(program);
            if (status != nvrtcResult.NVRTC_SUCCESS)
                throw new KernelCompileException(source, status.ToString(), options, Identity, log);
            return new CompiledKernel(source.Name, architecture, ReadImage(program, architecture), log);
        }
        finally
        {
            Nvrtc.nvrtcDestroyProgram(ref program);
        }
    }

    /// <summary>sm_N, compute_N, or null; see <see cref="TargetFor"/>.</summary>
    internal static string? Target(int device, ReadOnlySpan<int> supported)
    {
        var best = 0;
        foreach (var architecture in supported)
        {
            if (architecture == device)
                return $"sm_{device}";
            if (architecture < device && architecture > best)
                best = architecture;
        }

        return best == 0 ? null : $"compute_{best}";
    }

    private static byte[] ReadImage(NvrtcProgram program, string architecture)
    {
        nuint size;
        byte[] image;
        if (architecture.StartsWith("compute_", StringComparison.Ordinal))
        {
            Nvrtc.nvrtcGetPTXSize(program, out size).ThrowIfFailed();
            image = new byte[size];
            fixed (byte* to = image)
                Nvrtc.nvrtcGetPTX(program, to).ThrowIfFailed();
        }
        else
        {
            Nvrtc.nvrtcGetCUBINSize(program, out size).ThrowIfFailed();
            image = new byte[size];
            fixed (byte* to = image)
                Nvrtc.nvrtcGetCUBIN(program, to).ThrowIfFailed();
        }

        return image;
    }

    private static string ReadLog(NvrtcProgram program)
    {
        // A log that cannot be read must not hide the status it was to explain.
        if (Nvrtc.nvrtcGetProgramLogSize(program, out var size) != nvrtcResult.NVRTC_SUCCESS || size <= 1)
            return "";
        var log = new byte[size];
        fixed (byte* to = log)
        {
            return Nvrtc.nvrtcGetProgramLog(program, to) == nvrtcResult.NVRTC_SUCCESS
                ? Encoding.UTF8.GetString(log).TrimEnd('\0')
                : "";
        }
    }

    /// <summary>
    /// The simulator answers with some NVRTC version, but its images are its own: its file's hash keeps the two apart, and
    /// images of one build of the simulator from another.
    /// </summary>
    private static string Identify(Version version)
    {
        if (NativeLibraries.SimulatorPath is not { } path)
            return $"NVRTC {version}";
        using var file = File.OpenRead(path);
        return $"simulator {Convert.ToHexStringLower(SHA256.HashData(file))[..16]}";
    }

    /// <summary>C strings and the array of their addresses, outside the managed heap.</summary>
    private sealed class Utf8Strings : IDisposable
    {
        private readonly int _count;

        public Utf8Strings(IReadOnlyList<string> strings)
        {
            _count = strings.Count;
            Items = (byte**)NativeMemory.AllocZeroed((nuint)Math.Max(1, _count), (nuint)sizeof(byte*));
            for (var i = 0; i < _count; i++)
                Items[i] = (byte*)Marshal.StringToCoTaskMemUTF8(strings[i]);
        }

        public byte** Items { get; }

        public void Dispose()
        {
            for (var i = 0; i < _count; i++)
                Marshal.FreeCoTaskMem((nint)Items[i]);
            NativeMemory.Free(Items);
        }
    }
}
