using System.Text.Json;
using System.Text.Json.Nodes;
using GpuEngine.Nn.Files;

namespace GpuEngine.Cli;

/// <summary>Results for programs go to stdout or a file as JSON, alone; everything for people goes through the console.</summary>
internal static class Output
{
    public static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Writes JSON to a file, or to stdout for "-".</summary>
    public static void Json(JsonNode node, string path)
    {
        var text = node.ToJsonString(Indented) + "\n";
        if (path == "-") System.Console.Out.Write(text);
        else AtomicFile.WriteAllText(path, text);
    }

    /// <summary>Bytes as people read them.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        >= 1L << 30 => $"{bytes / (double)(1L << 30):F2} GiB",
        >= 1L << 20 => $"{bytes / (double)(1L << 20):F2} MiB",
        >= 1L << 10 => $"{bytes / (double)(1L << 10):F1} KiB",
        _ => $"{bytes} B",
    };
}
