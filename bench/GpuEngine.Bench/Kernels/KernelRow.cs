using System.Text.Json.Nodes;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Bench.Kernels;

/// <summary>What was measured of one case in one variant.</summary>
/// <param name="Case">The case.</param>
/// <param name="FloorBytes">Fewest bytes of any implementation, for the shape that ran.</param>
/// <param name="Variant">The variant that was asked for, or null.</param>
/// <param name="Tuning">The numbers that were asked for.</param>
/// <param name="Plan">What the launchers planned.</param>
internal sealed record KernelRow(KernelCase Case, long FloorBytes, string? Variant, IReadOnlyDictionary<string, int> Tuning, string Plan)
{
    public Timing Cold { get; init; }

    public Timing? Warm { get; init; }

    /// <summary>A copy that moves the floor's bytes, over as many sets.</summary>
    public Timing Copy { get; init; }

    public Timing? WarmCopy { get; init; }

    public int Sets { get; init; }

    public long SetBytes { get; init; }

    /// <summary>Variants and numbers that could be asked for.</summary>
    public string Tunable { get; init; } = "";

    public IReadOnlyList<PeerTiming> Peers { get; init; } = [];

    /// <summary>What can be said without a clock.</summary>
    public string Outcome =>
        string.Join("  ", [$"ran  {Case.Label}", .. Asked.Length > 0 ? [Asked] : Array.Empty<string>(), .. Peers.Select(p => $"{p.Form}: {p.Note ?? "ran"}")]);

    private string Asked => string.Join(' ', new[] { Variant ?? "", string.Join(',', Tuning.Select(t => $"{t.Key}={t.Value}")) }.Where(s => s.Length > 0));

    public static string Header(IReadOnlyList<string> peers) =>
        $"{"case",-62} {"us",9} {"p20-p80",17} {"GB/s",6} {"copy",5} {"warm us",8} {"copy",5}" + string.Concat(peers.Select(p => $" {p + " us",12} {"ratio",6} {"warm",6}"));

    public string Line(IReadOnlyList<string> peers)
    {
        var name = Asked.Length > 0 ? $"    {Asked}" : Case.Label;
        var warm = Warm is { } w ? $"{w.Median * 1e6,8:F2} {WarmCopy!.Value.Median / w.Median,5:P0}" : $"{"",8} {"",5}";
        var line = $"{name,-62} {Cold.Median * 1e6,9:F2} {$"{Cold.P20 * 1e6:F2}-{Cold.P80 * 1e6:F2}",17} {FloorBytes / Cold.Median * 1e-9,6:F0} {Copy.Median / Cold.Median,5:P0} {warm}";
        var notes = new List<string>();
        foreach (var form in peers)
        {
            var peer = Peers.FirstOrDefault(p => p.Form == form);
            if (peer?.Note is { } note) notes.Add($"{form}: {note}");
            line += peer?.Cold is { } t
                ? $" {t.Median * 1e6,12:F2} {t.Median / Cold.Median,6:F2} {(peer.Warm is { } pw && Warm is { } ow ? $"{pw.Median / ow.Median:F2}" : ""),6}"
                : $" {"-",12} {"",6} {"",6}";
        }

        return notes.Count == 0 ? line.TrimEnd() : $"{line}  {string.Join("; ", notes)}";
    }

    public JsonObject ToJson() => new()
    {
        ["case"] = Case.Label,
        ["row"] = Case.Row,
        ["asked"] = Asked,
        ["plan"] = Plan,
        ["tunable"] = Tunable,
        ["floor_bytes"] = FloorBytes,
        ["sets"] = Sets,
        ["set_bytes"] = SetBytes,
        ["seconds"] = ToJson(Cold),
        ["warm_seconds"] = ToJson(Warm),
        ["copy_seconds"] = ToJson(Copy),
        ["warm_copy_seconds"] = ToJson(WarmCopy),
        ["of_copy"] = Copy.Median / Cold.Median,
        ["peers"] = new JsonArray([.. Peers.Select(p => (JsonNode)new JsonObject
        {
            ["form"] = p.Form, ["seconds"] = ToJson(p.Cold), ["warm_seconds"] = ToJson(p.Warm), ["note"] = p.Note,
            ["ratio"] = p.Cold is { } t ? t.Median / Cold.Median : null,
        })]),
    };

    private static JsonArray? ToJson(Timing? timing) => timing is { } t ? [t.Median, t.P20, t.P80] : null;
}
