using GpuEngine.Core;

namespace GpuEngine.Cuda;

/// <summary>
/// The text of <c>kernels/</c>. Run from a repository (a folder above the program holds GpuEngine.sln and kernels/), or with
/// $GPUENGINE_KERNELS set, the files on disk are read, so that an edited kernel takes effect at once; else the copies that
/// were embedded at build time, so that a program needs nothing beside its assemblies.
/// </summary>
public static class KernelSources
{
    /// <summary>Names the folder to read in place of the one found.</summary>
    public const string FolderVariable = "GPUENGINE_KERNELS";

    private const string Prefix = "kernels/";
    private static readonly Lazy<string?> DiskFolder = new(FindFolder);
    private static readonly Lazy<IReadOnlyDictionary<string, string>> AllHeaders = new(ReadHeaders);

    /// <summary>The folder that sources are read from; null when they come from the assembly.</summary>
    public static string? Folder => DiskFolder.Value;

    /// <summary>
    /// Every header of common/ under its bare name, as headers include each other. One name per header: a compiler that is
    /// given texts instead of files tells "#pragma once" by name.
    /// </summary>
    public static IReadOnlyDictionary<string, string> Headers => AllHeaders.Value;

    /// <summary>The .cu files, by name, in ordinal order.</summary>
    public static IReadOnlyList<string> Files =>
        [.. Names().Where(n => n.EndsWith(".cu", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    /// <summary>
    /// The text of a file by its path below kernels/, including headers by their bare names (see <see cref="Headers"/>).
    /// </summary>
    /// <exception cref="UserException">There is no such file.</exception>
    public static string Text(string file) => Read(file)?.Replace("#include \"common/", "#include \"", StringComparison.Ordinal)
        ?? throw new UserException(NearestName.Sentence("kernel file", file, Files));

    private static string? Read(string name)
    {
        if (Folder is { } folder)
        {
            var path = Path.Combine(folder, name);
            return File.Exists(path) ? File.ReadAllText(path) : null;
        }

        using var stream = typeof(KernelSources).Assembly.GetManifestResourceStream(Prefix + name);
        if (stream is null) return null;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static IEnumerable<string> Names()
    {
        if (Folder is { } folder)
        {
            return Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
                .Select(p => Path.GetRelativePath(folder, p).Replace('\\', '/'));
        }

        return typeof(KernelSources).Assembly.GetManifestResourceNames()
            .Where(n => n.StartsWith(Prefix, StringComparison.Ordinal)).Select(n => n[Prefix.Length..].Replace('\\', '/'));
    }

    private static Dictionary<string, string> ReadHeaders()
    {
        var headers = new Dictionary<string, string>();
        foreach (var name in Names().Where(n => n.EndsWith(".cuh", StringComparison.Ordinal)))
        {
            headers.Add(Path.GetFileName(name), Read(name)!);
        }

        return headers;
    }

    private static string? FindFolder()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } chosen)
        {
            return Directory.Exists(chosen)
                ? chosen
                : throw new UserException(
                    $"The folder '{chosen}' of {FolderVariable} does not exist: name the kernels/ folder or unset it.");
        }

        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var kernels = Path.Combine(folder.FullName, "kernels");
            if (File.Exists(Path.Combine(folder.FullName, "GpuEngine.sln")) && Directory.Exists(kernels)) return kernels;
        }

        return null;
    }
}
