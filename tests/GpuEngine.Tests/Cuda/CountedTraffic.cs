using System.Runtime.InteropServices;
using System.Text.Json;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>What the launches of one kernel moved, as the simulator counts it.</summary>
/// <param name="Bytes">Read and written in global memory.</param>
/// <param name="Sectors">Of 32 bytes.</param>
/// <param name="FewestSectors">That the same requests could do with.</param>
/// <param name="Requests">Accesses of whole warps.</param>
/// <param name="BankWays">Most different words of one bank in one access of a warp.</param>
internal sealed record CountedTraffic(long Bytes, long Sectors, long FewestSectors, long Requests, long BankWays)
{
    /// <summary>The same, only of source lines that make a tenth of the accesses to shared memory: those in loops.</summary>
    public long LoopBankWays { get; init; }

    /// <summary>Runs with counting instead of checking.</summary>
    public static unsafe CountedTraffic Of(CudaDevice device, PlannedKernel kernel, IReadOnlyList<double[]> inputs)
    {
        Assert.Equal(0, Cudasim.cudasim_set_option("check", "traffic"));
        try
        {
            Cudasim.cudasim_counters_clear();
            KernelRun.Outputs(device, kernel, inputs);
            using var json = JsonDocument.Parse(Marshal.PtrToStringUTF8((nint)Cudasim.cudasim_counters_json()) ?? "[]");
            var root = json.RootElement;
            var list = root.ValueKind == JsonValueKind.Array ? root : root.EnumerateObject().First(p => p.Value.ValueKind == JsonValueKind.Array).Value;
            var launches = list.EnumerateArray().Where(l => kernel.Requests.Any(r => r.Entry == l.GetProperty("kernel").GetString())).ToArray();
            Assert.NotEmpty(launches);
            long Sum(params string[] names) => launches.Sum(l => names.Sum(n => l.GetProperty(n).GetInt64()));
            return new CountedTraffic(
                Sum("global_read_bytes", "global_write_bytes"), Sum("global_read_sectors", "global_write_sectors"),
                Sum("global_read_ideal_sectors", "global_write_ideal_sectors"), Sum("global_read_requests", "global_write_requests"),
                launches.Max(l => l.GetProperty("shared_max_ways").GetInt64()))
            {
                LoopBankWays = launches.Max(LoopWays),
            };
        }
        finally
        {
            Assert.Equal(0, Cudasim.cudasim_set_option("check", "memory,race"));
        }
    }

    private static long LoopWays(JsonElement launch)
    {
        var least = launch.GetProperty("shared_requests").GetInt64() / 10;
        return launch.GetProperty("sites").EnumerateArray()
            .Where(s => s.TryGetProperty("max_ways", out _) && s.GetProperty("requests").GetInt64() > least)
            .Select(s => s.GetProperty("max_ways").GetInt64()).DefaultIfEmpty(0).Max();
    }
}
