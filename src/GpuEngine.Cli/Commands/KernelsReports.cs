using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Cli.Commands;

/// <summary>Runs and prints `gpuengine kernels list`, `compile`, `stats` and `traffic`.</summary>
internal static class KernelsReports
{
    public static int List(KernelSelection selection, bool json)
    {
        if (json)
        {
            Output.Json(new JsonArray([.. selection.Kernels.Select(k => (JsonNode)ToJson(k))]), "-");
            return CommandLine.Done;
        }

        foreach (var file in selection.Kernels.GroupBy(k => k.File))
        {
            Console.WriteLine(file.Key);
            foreach (var k in file)
            {
                Console.WriteLine($"  {k.Entry,-32} {k.Summary}");
                Console.WriteLine($"  {"",-32} ops: {string.Join(", ", Ops(k))}; {Dtypes(k)}; {k.Variants.Count} variants: {string.Join(", ", k.Variants.Select(v => v.Name))}");
            }
        }

        Console.WriteLine($"{selection.Kernels.Count} kernels in {selection.Kernels.Select(k => k.File).Distinct().Count()} files.");
        return CommandLine.Done;
    }

    public static int Compile(KernelSelection selection, CudaDevice? device, string? json)
    {
        var report = json == "-" ? Console.Error : Console.Out;
        var missing = PtxGate.Missing;
        if (device is null && missing is not null) throw new UserException($"There is nothing to compile with: no CUDA device was found and {missing}. Use --device sim.");
        if (device is null) report.WriteLine("NVRTC: not asked, there is no CUDA device (--device sim asks the simulator's).");
        if (missing is not null) report.WriteLine($"PTX gate: not asked, {missing}.");
        var results = KernelCompilation.Run(selection.Kernels, device, missing is null);
        foreach (var kernel in results.GroupBy(r => r.Kernel))
        {
            var failed = kernel.Count(r => !r.Passed);
            var seconds = device is null ? "" : $"  {kernel.Max(r => r.Seconds),5:F2} s at most";
            report.WriteLine($"{(failed == 0 ? "ok  " : "FAIL")} {kernel.Key.File,-24} {kernel.Key.Entry,-32} {kernel.Count() - failed} of {kernel.Count()} variants{seconds}");
        }

        foreach (var log in results.Where(r => r.Log.Length > 0).GroupBy(r => r.Log))
            report.WriteLine($"\n{log.First().Kernel.File} [{string.Join(", ", log.Select(r => r.Variant.Name).Distinct())}]:\n{log.Key}");
        var bad = results.Count(r => !r.Passed);
        report.WriteLine($"{results.Count - bad} of {results.Count} compiled by {string.Join(" and ", Compilers(device, missing))}.");
        if (json is not null)
        {
            Output.Json(
                new JsonObject
                {
                    ["device"] = device?.Name,
                    ["ptx_gate"] = missing ?? "sm_80, sm_90",
                    ["kernels"] = new JsonArray([.. results.Select(r => (JsonNode)new JsonObject
                    {
                        ["file"] = r.Kernel.File, ["entry"] = r.Kernel.Entry, ["variant"] = r.Variant.Name, ["ok"] = r.Passed, ["seconds"] = r.Seconds, ["log"] = r.Log,
                    })]),
                },
                json);
        }

        return bad == 0 ? CommandLine.Done : CommandLine.Failed;
    }

    public static int Stats(KernelSelection selection, CudaDevice? device, string? json)
    {
        var report = json == "-" ? Console.Error : Console.Out;
        if (device is null && PtxGate.Missing is { } missing) throw new UserException($"There is nothing to tell from: no CUDA device was found and {missing}.");
        KernelStatisticsRow[] rows =
        [
            .. device is not null ? KernelStatistics.OnDevice(selection.Kernels, device) : KernelStatistics.FromPtx(KernelCompilation.Run(selection.Kernels, null, true)),
        ];
        report.WriteLine(device is not null
            ? $"{device.Context.Properties.Name}: without dynamic shared memory; local bytes are spills and indexed arrays"
            : "From PTX for sm_90, without a GPU: local bytes are indexed arrays; registers, spills and occupancy need a GPU");
        report.WriteLine($"{"kernel",-32} {"variant",-34} {"threads",7} {"registers",9} {"shared",7} {"local",6} {"blocks/SM",9} {"occupancy",9}");
        foreach (var r in rows)
        {
            report.WriteLine(
                $"{r.Kernel.Entry,-32} {r.Variant.Name,-34} {r.Threads,7} {Known(r.Registers),9} {r.SharedBytes,7} {r.LocalBytes,6} {Known(r.BlocksPerMultiprocessor),9} {(r.Occupancy is { } o ? $"{o:P0}" : "-"),9}");
        }

        if (json is not null)
        {
            Output.Json(
                new JsonObject
                {
                    ["device"] = device?.Context.Properties.Name,
                    ["kernels"] = new JsonArray([.. rows.Select(r => (JsonNode)new JsonObject
                    {
                        ["file"] = r.Kernel.File, ["entry"] = r.Kernel.Entry, ["variant"] = r.Variant.Name, ["threads"] = r.Threads, ["registers"] = r.Registers,
                        ["shared_bytes"] = r.SharedBytes, ["local_bytes"] = r.LocalBytes, ["max_threads"] = r.MaxThreads,
                        ["blocks_per_multiprocessor"] = r.BlocksPerMultiprocessor, ["occupancy"] = r.Occupancy,
                    })]),
                },
                json);
        }

        return CommandLine.Done;
    }

    public static int Traffic(string? name, bool markdown, bool write, string? json)
    {
        if (write)
        {
            if (name is not null || markdown || json is not null) throw new UserException("--write-readme writes the whole table and nothing else: leave the rest out.");
            var readme = TrafficTable.Readme();
            Simulator.Use();
            TrafficTable.Write(readme, TrafficTable.Generate());
            return CommandLine.Done;
        }

        var report = json == "-" ? Console.Error : Console.Out;
        var cases = TrafficTable.Cases(name);
        Simulator.Use();
        var rows = new List<TrafficRow>();
        if (!markdown) report.WriteLine($"{"case",-56} {"variant",-9} {"floor",9} {"counted",9} {"of floor",8} {"distinct",8} {"of claim",8} {"sectors",7} {"conflict",8} {"barriers",8}  kernels");
        foreach (var row in KernelTraffic.Measure(cases))
        {
            rows.Add(row);
            if (markdown) continue;
            report.WriteLine(
                $"{row.Case.Label,-56} {row.Variant,-9} {row.FloorBytes,9} {row.CountedBytes,9} {row.OfFloor,8:F3} {row.DistinctOfFloor,8:F3} {row.OfClaim,8:F3} {row.OfIdealSectors,7:F3} {row.WorstBankConflict,8} {row.Barriers,8:F1}  {string.Join(" + ", row.Kernels)}");
        }

        if (markdown) report.Write(KernelTraffic.Markdown(rows));
        if (json is not null)
        {
            Output.Json(
                new JsonArray([.. rows.Select(r => (JsonNode)new JsonObject
                {
                    ["case"] = r.Case.Label, ["variant"] = r.Variant, ["kernels"] = new JsonArray([.. r.Kernels.Select(k => (JsonNode)k)]),
                    ["floor_bytes"] = r.FloorBytes, ["reread_bytes"] = r.RereadBytes, ["claimed_bytes"] = r.ClaimedBytes, ["counted_bytes"] = r.CountedBytes, ["distinct_bytes"] = r.DistinctBytes,
                    ["sectors"] = r.Sectors, ["ideal_sectors"] = r.IdealSectors, ["worst_bank_conflict"] = r.WorstBankConflict, ["barriers_per_block"] = r.Barriers,
                })]),
                json);
        }

        return CommandLine.Done;
    }

    private static string Known(int? value) => value?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "-";

    private static IEnumerable<string> Compilers(CudaDevice? device, string? missing)
    {
        if (device is not null) yield return $"NVRTC for {device.Name}";
        if (missing is null) yield return "clang for sm_80 and sm_90";
    }

    private static string[] Ops(CatalogKernel kernel) => [.. KernelSelection.OpsOf(kernel).Select(o => o.Name)];

    private static string Dtypes(CatalogKernel kernel) => string.Join(' ', kernel.DTypes.Select(d => d.Label()));

    private static JsonObject ToJson(CatalogKernel k) => new()
    {
        ["file"] = k.File,
        ["entry"] = k.Entry,
        ["summary"] = k.Summary,
        ["ops"] = new JsonArray([.. Ops(k).Select(o => (JsonNode)o)]),
        ["dtypes"] = new JsonArray([.. k.DTypes.Select(d => (JsonNode)d.Label())]),
        ["variants"] = new JsonArray([.. k.Variants.Select(v => (JsonNode)new JsonObject
        {
            ["name"] = v.Name, ["defines"] = new JsonObject(v.Defines.Select(d => KeyValuePair.Create<string, JsonNode?>(d.Name, d.Value))),
        })]),
    };
}
