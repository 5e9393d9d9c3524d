using System.Text;

namespace GpuEngine.Cuda.Interop;

/// <summary>A native library was needed and none of the candidates could be loaded.</summary>
public sealed class MissingLibraryException : Exception
{
    internal MissingLibraryException(LibraryResolution resolution, string advice)
        : base(Describe(resolution, advice))
    {
        Resolution = resolution;
        Advice = advice;
    }

    /// <summary>The library and everything that was tried.</summary>
    public LibraryResolution Resolution { get; }

    /// <summary>One sentence: what is missing and what to install. Fit for a user; the message adds the candidates.</summary>
    public string Advice { get; }

    private static string Describe(LibraryResolution resolution, string advice)
    {
        var text = new StringBuilder(advice).Append(" Tried:");
        foreach (var probe in resolution.Probes)
            text.Append("\n  ").Append(probe.Candidate.Path).Append(": ").Append(probe.Detail);
        return text.ToString();
    }
}
