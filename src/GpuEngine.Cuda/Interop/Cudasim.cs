using System.Runtime.InteropServices;

namespace GpuEngine.Cuda.Interop;

/// <summary>
/// The simulator's own functions, beside the CUDA names it exports (tools/cudasim/include/cudasim.h). They exist only while
/// <see cref="NativeLibraries.IsSimulated"/>; the texts stay valid until the next call that returns one.
/// </summary>
internal static unsafe partial class Cudasim
{
    /// <summary>The simulator is one file, so its functions are found under the driver's name.</summary>
    private const string Library = CuDriver.Library;

    /// <summary>Sets an option of the simulator; nonzero when name or value is not understood.</summary>
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int cudasim_set_option(string name, string value);

    /// <summary>Every option and its value, "name=value" in each line.</summary>
    [LibraryImport(Library)]
    public static partial byte* cudasim_options();

    /// <summary>Whether a check is on or the order of threads is a random one: then kernels are built with every access as a call.</summary>
    public static bool IsChecking
    {
        get
        {
            var lines = (Marshal.PtrToStringUTF8((nint)cudasim_options()) ?? "").Split('\n');
            return !lines.Contains("check=none") || !lines.Contains("seed=0");
        }
    }

    /// <summary>How often a check found something; null counts every kind.</summary>
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial ulong cudasim_finding_count(string? kind);

    [LibraryImport(Library)]
    public static partial byte* cudasim_findings_json();

    [LibraryImport(Library)]
    public static partial void cudasim_findings_clear();

    /// <summary>Reports live allocations as leaks and returns how many there are.</summary>
    [LibraryImport(Library)]
    public static partial ulong cudasim_check_leaks();

    [LibraryImport(Library)]
    public static partial byte* cudasim_counters_json();

    [LibraryImport(Library)]
    public static partial void cudasim_counters_clear();
}
