using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using GpuEngine.Cuda.Interop;

namespace GpuEngine.Cuda;

/// <summary>What one launch moved on the simulator.</summary>
public sealed record LaunchTraffic
{
    public required string Kernel { get; init; }

    /// <summary>Bytes read from global memory, every access counted.</summary>
    public required long ReadBytes { get; init; }

    public required long WriteBytes { get; init; }

    /// <summary>The same without what was read or written before by the same launch.</summary>
    public required long DistinctBytes { get; init; }

    /// <summary>32-byte sectors that its requests touched.</summary>
    public required long Sectors { get; init; }

    /// <summary>The fewest sectors that could hold what the requests asked for.</summary>
    public required long IdealSectors { get; init; }

    /// <summary>
    /// Most threads of a request that met in one bank of shared memory, at source lines that make a tenth of such requests: those
    /// in loops; 1 is none, 0 no shared memory.
    /// </summary>
    public required int WorstBankConflict { get; init; }

    /// <summary>Block barriers, summed over blocks.</summary>
    public required long Barriers { get; init; }

    /// <summary>Blocks of the grid.</summary>
    public required long Blocks { get; init; }

    public long Bytes => ReadBytes + WriteBytes;
}

/// <summary>The simulator's checks and counters. They belong to the process: one user at a time.</summary>
public sealed unsafe class SimulatorChecks : IDisposable
{
    /// <param name="checks">"memory", "race", "traffic", or some of them with commas.</param>
    /// <exception cref="InvalidOperationException">The simulator is not in use.</exception>
    public SimulatorChecks(string checks)
    {
        if (!NativeLibraries.IsSimulated) throw new InvalidOperationException("Only the simulator checks and counts.");
        Set("check", checks);
        Cudasim.cudasim_findings_clear();
        Cudasim.cudasim_counters_clear();
    }

    /// <summary>Findings since the last time they were cleared.</summary>
    public int FindingCount => (int)Cudasim.cudasim_finding_count(null);

    /// <summary>What was found, one line each: kind, kernel, source line and message.</summary>
    public IReadOnlyList<string> Findings
    {
        get
        {
            using var json = Parse(Cudasim.cudasim_findings_json());
            return
            [
                .. json.RootElement.EnumerateArray().Select(f =>
                    $"{f.GetProperty("kind").GetString()} in {f.GetProperty("kernel").GetString()} {f.GetProperty("source").GetString()}: {f.GetProperty("message").GetString()}"),
            ];
        }
    }

    /// <summary>Every launch since the counters were cleared, oldest first.</summary>
    public IReadOnlyList<LaunchTraffic> Launches
    {
        get
        {
            using var json = Parse(Cudasim.cudasim_counters_json());
            return [.. json.RootElement.EnumerateArray().Select(Read)];
        }
    }

    /// <summary>The order in which threads and blocks run: 0 is the plain one, any other number a random one of its own.</summary>
    public static void Schedule(int seed) => Set("seed", seed.ToString(CultureInfo.InvariantCulture));

    /// <summary>Sets an option of tools/cudasim/README.md.</summary>
    /// <exception cref="ArgumentException">The simulator does not understand it.</exception>
    public static void Set(string option, string value)
    {
        if (Cudasim.cudasim_set_option(option, value) != 0) throw new ArgumentException($"The simulator has no option '{option}' that takes '{value}'.");
    }

    public void ClearFindings() => Cudasim.cudasim_findings_clear();

    public void ClearCounters() => Cudasim.cudasim_counters_clear();

    public void Dispose()
    {
        Set("check", "none");
        Set("seed", "0");
        Cudasim.cudasim_findings_clear();
        Cudasim.cudasim_counters_clear();
    }

    private static JsonDocument Parse(byte* text) => JsonDocument.Parse(Marshal.PtrToStringUTF8((nint)text) ?? "[]");

    private static int LoopWays(JsonElement launch, long least) => launch.GetProperty("sites").EnumerateArray()
        .Where(s => s.TryGetProperty("max_ways", out _) && s.GetProperty("requests").GetInt64() > least)
        .Select(s => s.GetProperty("max_ways").GetInt32()).DefaultIfEmpty(0).Max();

    private static LaunchTraffic Read(JsonElement launch)
    {
        long Number(string name) => launch.GetProperty(name).GetInt64();
        return new LaunchTraffic
        {
            Kernel = launch.GetProperty("kernel").GetString()!,
            ReadBytes = Number("global_read_bytes"),
            WriteBytes = Number("global_write_bytes"),
            DistinctBytes = Number("unique_read_bytes") + Number("unique_write_bytes"),
            Sectors = Number("global_read_sectors") + Number("global_write_sectors"),
            IdealSectors = Number("global_read_ideal_sectors") + Number("global_write_ideal_sectors"),
            WorstBankConflict = LoopWays(launch, Number("shared_requests") / 10),
            Barriers = Number("barriers"),
            Blocks = Number("blocks"),
        };
    }
}
