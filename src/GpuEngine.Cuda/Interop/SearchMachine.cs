using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace GpuEngine.Cuda.Interop;

/// <summary>
/// What the search for libraries sees of the machine: its system, its variables, its files. A test gives another system,
/// other variables and a folder that stands for the root of the disk.
/// </summary>
internal sealed partial class SearchMachine
{
    /// <summary>This machine.</summary>
    public static SearchMachine Current { get; } = new()
    {
        IsWindows = OperatingSystem.IsWindows(),
        IsArm64 = RuntimeInformation.ProcessArchitecture == Architecture.Arm64,
        Variable = Environment.GetEnvironmentVariable,
    };

    public required bool IsWindows { get; init; }

    public bool IsArm64 { get; init; }

    public required Func<string, string?> Variable { get; init; }

    /// <summary>The folder that stands for "/"; empty on the real machine.</summary>
    public string Root { get; init; } = "";

    private char ListSeparator => IsWindows ? ';' : ':';

    /// <summary>The entries of a list of folders such as PATH, empty ones left out.</summary>
    public IReadOnlyList<string> VariableList(string name) =>
        Variable(name)?.Split(ListSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];

    public bool FileExists(string path) => File.Exists(Root + path);

    public bool DirectoryExists(string path) => Directory.Exists(Root + path);

    /// <summary>Folders in <paramref name="parent"/> that match, the highest version number first.</summary>
    public IReadOnlyList<string> Directories(string parent, string pattern) =>
        List(parent, pattern, Directory.GetDirectories);

    /// <summary>Files in <paramref name="parent"/> that match.</summary>
    public IReadOnlyList<string> Files(string parent, string pattern) => List(parent, pattern, Directory.GetFiles);

    /// <summary>The file behind a chain of links, as a path of this machine; the path itself when it is no link.</summary>
    public string ResolveLinks(string path)
    {
        for (var hops = 0; hops < 16; hops++)
        {
            string? target;
            try
            {
                target = new FileInfo(Root + path).LinkTarget;
            }
            catch (IOException)
            {
                return path;
            }

            if (target is null)
                return path;
            path = target.StartsWith('/') ? target : Normalize(Join(Parent(path), target));
        }

        return path;
    }

    /// <summary>Joins with the separator both systems accept.</summary>
    public static string Join(params ReadOnlySpan<string> parts)
    {
        var path = parts[0].Length > 1 ? parts[0].TrimEnd('/', '\\') : parts[0];
        foreach (var part in parts[1..])
            path = path.EndsWith('/') ? path + part : $"{path}/{part}";
        return path;
    }

    public static string Parent(string path)
    {
        var cut = path.LastIndexOfAny(['/', '\\']);
        return cut <= 0 ? "/" : path[..cut];
    }

    private static string Normalize(string path)
    {
        var parts = new List<string>();
        foreach (var part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            if (part == "..")
            {
                if (parts.Count > 0)
                    parts.RemoveAt(parts.Count - 1);
            }
            else if (part != ".")
            {
                parts.Add(part);
            }
        }

        return "/" + string.Join('/', parts);
    }

    private List<string> List(string parent, string pattern, Func<string, string, string[]> list)
    {
        try
        {
            var found = Directory.Exists(Root + parent) ? list(Root + parent, pattern) : [];
            return [.. found
                .Select(path => Join(parent, Path.GetFileName(path)))
                .OrderByDescending(NumericKey, StringComparer.Ordinal)];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A folder we may not read holds nothing for us.
            return [];
        }
    }

    /// <summary>python3.12 above python3.9, cuda-13.0 above cuda-12.8: digits compare as numbers.</summary>
    private static string NumericKey(string path) =>
        NumberPattern().Replace(path, static match => match.Value.PadLeft(8, '0'));

    [GeneratedRegex("[0-9]+")]
    private static partial Regex NumberPattern();
}
