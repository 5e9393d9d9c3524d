namespace GpuEngine.Core.Graph;

/// <summary>Names the layer whose nodes are being recorded, so that messages, ledgers and reports can say where a node comes from.</summary>
public readonly struct Scope : IDisposable
{
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

    public void Dispose() => _current = _previous;
}
