using System.Text.RegularExpressions;

namespace GpuEngine.Cuda.Runtime;

/// <summary>Finds which in-memory headers a source can reach, so that a changed header recompiles only those that use it.</summary>
public static partial class IncludeScanner
{
    /// <summary>
    /// The headers reached from <paramref name="source"/>, directly or through others, by name in ordinal order. Errs on the
    /// side of too many: an include inside a comment or a false #if counts, and an include of a macro counts as all headers.
    /// Names that are not in <paramref name="headers"/> are left to the compiler to complain about.
    /// </summary>
    public static IReadOnlyList<string> Closure(string source, IReadOnlyDictionary<string, string> headers)
    {
        var reached = new SortedSet<string>(StringComparer.Ordinal);
        var waiting = new Stack<(string Folder, string Text)>();
        waiting.Push(("", source));
        while (waiting.TryPop(out var file))
        {
            foreach (Match include in Include().Matches(file.Text))
            {
                var name = include.Groups["name"];
                if (!name.Success)
                    return [.. headers.Keys.Order(StringComparer.Ordinal)];
                // By the name as written, and beside the file that includes it: whichever the compiler takes is covered.
                Reach(name.Value);
                Reach(Beside(file.Folder, name.Value));
            }
        }

        return [.. reached];

        void Reach(string name)
        {
            if (headers.TryGetValue(name, out var text) && reached.Add(name))
                waiting.Push((name.Contains('/') ? name[..name.LastIndexOf('/')] : "", text));
        }
    }

    /// <summary>The header names that <paramref name="text"/> includes itself, as written.</summary>
    public static IEnumerable<string> Direct(string text) =>
        Include().Matches(text).Where(m => m.Groups["name"].Success).Select(m => m.Groups["name"].Value);

    private static string Beside(string folder, string name)
    {
        var parts = new List<string>(folder.Split('/', StringSplitOptions.RemoveEmptyEntries));
        foreach (var part in name.Split('/'))
        {
            if (part == ".." && parts.Count > 0)
                parts.RemoveAt(parts.Count - 1);
            else if (part is not ("." or ".."))
                parts.Add(part);
        }

        return string.Join('/', parts);
    }

    // #include "x", #include <x>, or #include and anything else (a macro); blanks and line continuations in between.
    [GeneratedRegex("""^[ \t]*(?:/\*.*?\*/[ \t]*)?#(?:[ \t]|\\\r?\n)*include(?:[ \t]|\\\r?\n|/\*.*?\*/)*(?:["<](?<name>[^">\n]+)[">]|(?=[A-Za-z_]))""", RegexOptions.Multiline)]
    private static partial Regex Include();
}
