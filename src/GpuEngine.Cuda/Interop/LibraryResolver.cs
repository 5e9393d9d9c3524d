using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>
/// Loads each library once, from the first candidate that works, and remembers everything it tried.
/// </summary>
internal sealed class LibraryResolver
{
    /// <summary>In a library's variable: go on as if it were not installed, on the simulator too.</summary>
    private const string None = "none";

    private readonly SearchMachine _machine;
    private readonly LoadLibrary _load;
    private readonly Lock _lock = new();
    private readonly Entry?[] _entries = new Entry?[LibraryDescriptor.All.Count];
    private string? _simulator;

    /// <param name="machine">Where to search.</param>
    /// <param name="load">How to load; the default asks the operating system.</param>
    public LibraryResolver(SearchMachine machine, LoadLibrary? load = null)
    {
        _machine = machine;
        _load = load ?? LoadFromSystem;
    }

    /// <summary>Loads a file or a bare name: a handle, or zero and the loader's own words.</summary>
    public delegate nint LoadLibrary(string path, out string error);

    public string? SimulatorPath => _simulator;

    /// <summary>Makes every library resolve to one file. Too late once another file has been asked for anything.</summary>
    public void UseSimulator(string path)
    {
        lock (_lock)
        {
            if (_simulator == path)
                return;
            if (_simulator is not null || _entries.Any(e => e is { Handle: not 0 }))
            {
                throw new InvalidOperationException(
                    $"The simulator '{path}' was chosen after {(_simulator ?? "a CUDA library")} had been loaded; choose the " +
                    "device once, before the first use of CUDA in the process.");
            }

            _simulator = path;
            // What was looked for in vain before, on the real machine, is to be found in the simulator.
            Array.Clear(_entries);
        }
    }

    /// <summary>What was tried for a library; loads it on the first call. Never throws.</summary>
    public LibraryResolution Resolve(CudaLibrary library) => Get(library).Resolution;

    /// <summary>The library's handle; throws <see cref="MissingLibraryException"/> when no candidate loads.</summary>
    public nint Load(CudaLibrary library)
    {
        var entry = Get(library);
        return entry.Handle != 0 ? entry.Handle : throw new MissingLibraryException(entry.Resolution, Advice(entry));
    }

    /// <summary>The library's handle, or zero.</summary>
    public nint TryLoad(CudaLibrary library) => Get(library).Handle;

    private string Advice(Entry entry)
    {
        var descriptor = LibraryDescriptor.Of(entry.Resolution.Library);
        if (IsSwitchedOff(descriptor.Library))
            return $"{descriptor.Library.DisplayName()} is switched off by {descriptor.Variable}={None}: unset the variable to search the usual places.";
        if (_simulator is not null)
            return $"The simulator library '{_simulator}' cannot be loaded: build it with tools/cudasim/build.sh.";
        if (_machine.Variable(descriptor.Variable) is { Length: > 0 } file)
        {
            return $"{descriptor.Library.DisplayName()} cannot be loaded from '{file}', which {descriptor.Variable} names: correct " +
                "the variable, or unset it to search the usual places.";
        }

        return descriptor.Advice;
    }

    private Entry Get(CudaLibrary library)
    {
        lock (_lock)
        {
            return _entries[(int)library] ??=
                IsSwitchedOff(library) ? SwitchedOff(library) : _simulator is null ? Search(library) : FromSimulator(library, _simulator);
        }
    }

    private bool IsSwitchedOff(CudaLibrary library) => _machine.Variable(LibraryDescriptor.Of(library).Variable) == None;

    private static Entry SwitchedOff(CudaLibrary library) => new(0, new(
        library, null, [new(new(None, LibrarySource.Environment), ProbeOutcome.NotFound, $"switched off by {LibraryDescriptor.Of(library).Variable}={None}")]));

    private Entry FromSimulator(CudaLibrary library, string path)
    {
        var handle = _load(path, out var error);
        var candidate = new LibraryCandidate(path, LibrarySource.Simulator);
        var probe = handle != 0
            ? new LibraryProbe(candidate, ProbeOutcome.Loaded, "loaded")
            : new LibraryProbe(candidate, ProbeOutcome.LoadFailed, error);
        return new(handle, new(library, handle == 0 ? null : path, [probe]));
    }

    private Entry Search(CudaLibrary library)
    {
        // A library finds what it loads by name (cuDNN: cuBLAS and NVRTC) among what is already in the process, wherever
        // that came from; wheels of cuDNN rely on it.
        foreach (var needed in Prerequisites(library))
            _ = Get(needed);

        var descriptor = LibraryDescriptor.Of(library);
        var driverMajor = descriptor.Files(_machine.IsWindows).Any(f => f.CudaMajor > 0) ? DriverMajor() : 0;
        var probes = new List<LibraryProbe>();
        foreach (var candidate in LibraryCandidates.List(descriptor, _machine, driverMajor))
        {
            var (probe, handle) = Try(descriptor, candidate, driverMajor);
            probes.Add(probe);
            if (handle != 0)
            {
                var path = candidate.IsBareName ? LoadedModules.PathOf(candidate.Path) ?? candidate.Path : candidate.Path;
                return new(handle, new(library, path, probes));
            }
        }

        return new(0, new(library, null, probes));
    }

    private (LibraryProbe Probe, nint Handle) Try(LibraryDescriptor descriptor, LibraryCandidate candidate, int driverMajor)
    {
        LibraryProbe Failed(ProbeOutcome outcome, string detail) => new(candidate, outcome, detail);

        if (!candidate.IsBareName && !_machine.FileExists(candidate.Path))
            return (Failed(ProbeOutcome.NotFound, "no such file"), 0);
        var major = descriptor.Files(_machine.IsWindows)
            .FirstOrDefault(f => candidate.Path.EndsWith(f.Name, StringComparison.Ordinal)).CudaMajor;
        if (driverMajor > 0 && major > driverMajor && candidate.Source != LibrarySource.Environment)
        {
            return (Failed(ProbeOutcome.NeedsNewerDriver,
                $"needs a driver for CUDA {major}, the one installed is for CUDA {driverMajor}"), 0);
        }

        if (descriptor.Library == CudaLibrary.Nvrtc && !candidate.IsBareName && !LoadBuiltins(candidate.Path, major)
            && candidate.Source != LibrarySource.Environment)
        {
            return (Failed(ProbeOutcome.Incomplete, "its builtins library (nvrtc-builtins) is not beside it"), 0);
        }

        var handle = _load(candidate.IsBareName ? candidate.Path : _machine.Root + candidate.Path, out var error);
        if (handle != 0)
            return (new(candidate, ProbeOutcome.Loaded, "loaded"), handle);
        var unknownName = candidate.IsBareName && LoadedModules.IsNotFound(error);
        return (unknownName
            ? Failed(ProbeOutcome.NotFound, "the system loader does not know it")
            : Failed(ProbeOutcome.LoadFailed, error), 0);
    }

    /// <summary>
    /// NVRTC opens its builtins by bare name on the first compilation, and some wheels lack the run path that would find
    /// them; loading them first by full path settles it.
    /// </summary>
    private bool LoadBuiltins(string nvrtc, int major)
    {
        var prefix = _machine.IsWindows ? "nvrtc-builtins64_" : "libnvrtc-builtins.so.";
        var pattern = major == 0 ? $"{prefix}*" : $"{prefix}{major}*";
        var found = false;
        foreach (var file in _machine.Files(SearchMachine.Parent(nvrtc), pattern))
            found |= _load(_machine.Root + file, out _) != 0;
        return found;
    }

    /// <summary>The CUDA version the driver was made for: 12 or 13; 0 when there is no driver.</summary>
    private unsafe int DriverMajor()
    {
        var driver = Get(CudaLibrary.Driver).Handle;
        if (driver == 0 || !NativeLibrary.TryGetExport(driver, nameof(CuDriver.cuDriverGetVersion), out var address))
            return 0;
        int version;
        // Allowed before cuInit.
        return ((delegate* unmanaged<int*, CUresult>)address)(&version) == CUresult.CUDA_SUCCESS ? version / 1000 : 0;
    }

    private static ReadOnlySpan<CudaLibrary> Prerequisites(CudaLibrary library) => library switch
    {
        CudaLibrary.Cublas => [CudaLibrary.CublasLt],
        CudaLibrary.Cudnn => [CudaLibrary.Nvrtc, CudaLibrary.CublasLt, CudaLibrary.Cublas],
        _ => [],
    };

    private static nint LoadFromSystem(string path, out string error)
    {
        try
        {
            error = "";
            return NativeLibrary.Load(path);
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            error = LoadedModules.LoaderWords(exception.Message);
            return 0;
        }
    }

    private sealed record Entry(nint Handle, LibraryResolution Resolution);
}
