namespace GpuEngine.Core;

/// <summary>Finds the name somebody probably meant.</summary>
public static class NearestName
{
    /// <summary>
    /// The candidate closest to <paramref name="given"/> by Damerau-Levenshtein distance (case ignored), or null when
    /// nothing is closer than half of the longer name.
    /// </summary>
    public static string? Of(string given, IEnumerable<string> candidates)
    {
        string? best = null;
        var bestDistance = int.MaxValue;
        foreach (var candidate in candidates)
        {
            var distance = Distance(given.ToLowerInvariant(), candidate.ToLowerInvariant());
            if (distance < bestDistance && distance * 2 <= Math.Max(given.Length, candidate.Length))
            {
                best = candidate;
                bestDistance = distance;
            }
        }

        return best;
    }

    /// <summary>A sentence for an unknown name: what was given, the nearest valid name, and all valid names.</summary>
    public static string Sentence(string kind, string given, IReadOnlyCollection<string> candidates)
    {
        var nearest = Of(given, candidates);
        var hint = nearest is null ? "" : $" Did you mean '{nearest}'?";
        return $"Unknown {kind} '{given}'.{hint} Valid names: {string.Join(", ", candidates)}.";
    }

    private static int Distance(string a, string b)
    {
        var d = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++) d[i, 0] = i;
        for (var j = 0; j <= b.Length; j++) d[0, j] = j;
        for (var i = 1; i <= a.Length; i++)
        {
            for (var j = 1; j <= b.Length; j++)
            {
                var substitution = d[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                d[i, j] = Math.Min(Math.Min(d[i - 1, j] + 1, d[i, j - 1] + 1), substitution);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    d[i, j] = Math.Min(d[i, j], d[i - 2, j - 2] + 1);
            }
        }

        return d[a.Length, b.Length];
    }
}
