namespace GpuEngine.Cuda.Interop;

/// <summary>Why a place is searched for a library.</summary>
public enum LibrarySource
{
    /// <summary>An environment variable of this engine names the file or the folder.</summary>
    Environment,

    /// <summary>The simulator, chosen by the caller.</summary>
    Simulator,

    /// <summary>The operating system's own search: ld.so cache, PATH.</summary>
    SystemLoader,

    /// <summary>A folder where drivers of containers, WSL or NixOS put libcuda.</summary>
    DriverFolder,

    /// <summary>A CUDA toolkit.</summary>
    Toolkit,

    /// <summary>A conda environment.</summary>
    Conda,

    /// <summary>A Python wheel in some site-packages folder.</summary>
    PythonWheel,
}

/// <summary>What came of one candidate.</summary>
public enum ProbeOutcome
{
    /// <summary>Loaded and used.</summary>
    Loaded,

    /// <summary>No such file, or the system loader does not know the name.</summary>
    NotFound,

    /// <summary>The file is there but the loader refused it.</summary>
    LoadFailed,

    /// <summary>The file is there but a part it needs at run time is not beside it.</summary>
    Incomplete,

    /// <summary>Its major version needs a newer driver than the one installed.</summary>
    NeedsNewerDriver,
}

/// <summary>One place that may hold a library: a full path, or a bare name for the system loader.</summary>
public sealed record LibraryCandidate(string Path, LibrarySource Source)
{
    /// <summary>Whether the operating system searches, instead of us naming a file.</summary>
    public bool IsBareName => !Path.Contains('/') && !Path.Contains('\\');
}

/// <summary>One candidate that was tried, and what came of it.</summary>
public sealed record LibraryProbe(LibraryCandidate Candidate, ProbeOutcome Outcome, string Detail);

/// <summary>Everything that was tried for one library.</summary>
/// <param name="Library">The library.</param>
/// <param name="Path">The file in use (for a bare name the file behind it, where that can be told), or null.</param>
/// <param name="Probes">All candidates tried, in order; the search ends at the first one that loads.</param>
public sealed record LibraryResolution(CudaLibrary Library, string? Path, IReadOnlyList<LibraryProbe> Probes)
{
    /// <summary>Whether the library is loaded.</summary>
    public bool Found => Path is not null;
}
