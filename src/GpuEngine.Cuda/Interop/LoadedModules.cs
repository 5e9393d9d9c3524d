namespace GpuEngine.Cuda.Interop;

/// <summary>What the system loader did: the file behind a name, the reason of a refusal.</summary>
internal static class LoadedModules
{
    /// <summary>The file that the system loader found for a bare name, or null where the system does not tell.</summary>
    public static string? PathOf(string name)
    {
        if (!OperatingSystem.IsLinux())
            return null;
        try
        {
            return PathIn(File.ReadLines("/proc/self/maps"), name);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>
    /// The first mapped file called <paramref name="name"/>, or called like it with more version behind
    /// (libcuda.so.1 is mapped as libcuda.so.550.54.15: the stem up to ".so" decides).
    /// </summary>
    public static string? PathIn(IEnumerable<string> maps, string name)
    {
        var end = name.IndexOf(".so", StringComparison.Ordinal);
        var stem = end < 0 ? name : name[..(end + 3)];
        foreach (var line in maps)
        {
            var slash = line.IndexOf('/');
            if (slash < 0)
                continue;
            var path = line[slash..];
            var file = path[(path.LastIndexOf('/') + 1)..];
            if (file == name || file == stem || file.StartsWith(stem + ".", StringComparison.Ordinal))
                return path;
        }

        return null;
    }

    /// <summary>Whether the loader's words mean that the name itself is unknown, not a dependency of it.</summary>
    public static bool IsNotFound(string words) =>
        words.Contains("cannot open shared object file: No such file", StringComparison.Ordinal)
        || words.Contains("0x8007007E", StringComparison.Ordinal);

    /// <summary>
    /// The loader's own line out of the runtime's message, which begins with general advice and then repeats what dlopen said.
    /// </summary>
    public static string LoaderWords(string message)
    {
        var lines = message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.LastOrDefault(line => line.Contains(": ", StringComparison.Ordinal)) ?? message.Trim();
    }
}
