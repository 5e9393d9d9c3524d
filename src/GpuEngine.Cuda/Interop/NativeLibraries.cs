using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>The native libraries of this process: which files they are, and what was tried to find them.</summary>
public static class NativeLibraries
{
    private static readonly LibraryResolver Resolver = new(SearchMachine.Current);

    /// <summary>The simulator in use, or null when the real libraries are.</summary>
    public static string? SimulatorPath => Resolver.SimulatorPath;

    /// <summary>Whether the simulator stands in for the GPU.</summary>
    public static bool IsSimulated => Resolver.SimulatorPath is not null;

    /// <summary>
    /// Makes every CUDA library resolve to the simulator at <paramref name="path"/>. To be called before the first use of
    /// CUDA in the process; a process uses either real devices or simulated ones.
    /// </summary>
    /// <exception cref="InvalidOperationException">A real library, or another simulator, is already in use.</exception>
    public static void UseSimulator(string path) => Resolver.UseSimulator(Path.GetFullPath(path));

    /// <summary>What was tried for a library and which file is in use; loads it on the first call. Never throws.</summary>
    public static LibraryResolution Resolve(CudaLibrary library) => Resolver.Resolve(library);

    /// <summary>Whether a library can be used.</summary>
    public static bool IsAvailable(CudaLibrary library) => Resolver.TryLoad(library) != 0;

    /// <summary>Loads a library or throws <see cref="MissingLibraryException"/>.</summary>
    public static void Require(CudaLibrary library) => _ = Resolver.Load(library);

    /// <summary>The address of an optional function, or zero when the library or the function is missing.</summary>
    internal static nint FindExport(CudaLibrary library, string name)
    {
        var handle = Resolver.TryLoad(library);
        return handle != 0 && NativeLibrary.TryGetExport(handle, name, out var address) ? address : 0;
    }

    // Seven classes import functions and any of them may be first, so the hook must be in place before all of them; a
    // second registration for one assembly throws.
#pragma warning disable CA2255
    [ModuleInitializer]
    internal static void Register() =>
        NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, ResolveImport);
#pragma warning restore CA2255

    private static nint ResolveImport(string name, Assembly assembly, DllImportSearchPath? path)
    {
        foreach (var descriptor in LibraryDescriptor.All)
        {
            if (descriptor.ImportName == name)
                return Resolver.Load(descriptor.Library);
        }

        return 0;
    }
}
