namespace GpuEngine.Core.Graph;

/// <summary>Names the layer whose nodes are being recorded, so that messages, ledgers and reports can say where a node comes from.</summary>
public readonly struct Scope : IDisposable
{
    /// <summary>Ends the scope of nodes that make a value again (see <see cref="Recompute"/>).</summary>
    private const string Again = " (again)";

    [ThreadStatic]
    private static string? _current;

    private readonly string? _previous;

    private Scope(string? previous) => _previous = previous;

    public static string Current => _current ?? "";

    /// <summary>Enters a nested scope until the result is disposed: "a" inside "b" is "b.a".</summary>
    public static Scope Enter(string name)
    {
        var scope = new Scope(_current);
        _current = string.IsNullOrEmpty(_current) ? name : $"{_current}.{name}";
        return scope;
    }

    /// <summary>Replaces the whole scope; graph rewrites use it to keep the origin of the nodes they rebuild.</summary>
    public static Scope Restore(string path)
    {
        var scope = new Scope(_current);
        _current = path;
        return scope;
    }

    /// <summary>
    /// Replaces the scope by that of nodes which make again what the nodes of <paramref name="path"/> made: passes keep the two apart though
    /// their ops and inputs may be the same, and ledgers show them on lines of their own. What is made a third time is told from the second.
    /// </summary>
    public static Scope Recompute(string path) => Restore(path + Again);

    /// <summary>How often the values of this scope's nodes had been made before.</summary>
    internal static int Repeats(string path)
    {
        var (repeats, end) = (0, path.Length);
        for (; path.AsSpan(0, end).EndsWith(Again, StringComparison.Ordinal); end -= Again.Length) repeats++;
        return repeats;
    }

    public void Dispose() => _current = _previous;
}
