using System.Text.Json.Nodes;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Lab.Hardware;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Cli.Commands;

/// <summary>Runs and prints `gpuengine kernels check`.</summary>
internal static class KernelsCheck
{
    private const int MostPrinted = 40;

    /// <param name="device">Where to check.</param>
    /// <param name="everything">Whether all ops are checked: then passed rows are counted, not printed.</param>
    /// <param name="ops">What to check.</param>
    /// <param name="dtypes">In which dtypes.</param>
    /// <param name="schedules">Random orders on the simulator.</param>
    /// <param name="steps">Whether training steps are followed too.</param>
    /// <param name="json">Where the result goes; null: nowhere.</param>
    public static int Run(IDevice device, bool everything, IReadOnlyList<OpSpec> ops, DType[] dtypes, int schedules, bool steps, string? json)
    {
        var report = json == "-" ? Console.Error : Console.Out;
        var simulated = device is CudaDevice { Context: not null } && device.Name.StartsWith("sim", StringComparison.Ordinal);
        using var variants = new KernelVariants(device);
        // Kernels are built for checking from the start: both halves of the check then share one build.
        var checks = simulated ? new SimulatorChecks("memory,race") : null;
        var rows = new List<KernelCheckRow>();
        try
        {
            foreach (var found in KernelCheck.Run(variants, ops, dtypes))
            {
                var row = checks is { FindingCount: > 0 } && found.Failure is null ? found with { Failure = checks.Findings[0] } : found;
                checks?.ClearFindings();
                rows.Add(row);
                if (row.Passed && (everything || rows.Count > MostPrinted)) continue;
                report.WriteLine($"{Mark(row.Passed)} {row.Op,-24} {row.Dtype.Label(),-4} {row.Variant,-10} {row.Samples,2} samples  {row.Failure ?? row.Worst?.ToString()}");
            }
        }
        finally
        {
            checks?.Dispose();
        }

        var proofs = new List<KernelProofRow>();
        if (simulated)
        {
            foreach (var row in KernelProof.Run(variants, ops, [.. dtypes.Where(d => d != DType.F64)], schedules))
            {
                proofs.Add(row);
                if (!row.Passed) report.WriteLine($"FAIL {row.Op,-24} {row.Dtype.Label(),-4} {row.Variant,-10} {row.Samples,2} samples  {row.Finding}");
            }
        }

        StepComparisonResult[] comparisons = steps ? [.. StepComparison.Run(device)] : [];
        foreach (var c in comparisons)
        {
            var outcome = c.Failure ?? $"losses within {c.LargestDifference:E1} of the CPU's, {(c.Repeatable ? "bit-equal when repeated" : "NOT REPEATABLE")}";
            report.WriteLine($"{Mark(c.Passed)} {c.Steps} steps of {c.Model}: {outcome}");
        }

        var failed = rows.Count(r => !r.Passed) + comparisons.Count(c => !c.Passed) + proofs.Count(p => !p.Passed);
        report.WriteLine($"{device.Name}: {Summary(rows, proofs, schedules)}{(failed == 0 ? "" : $"; {failed} checks failed")}.");
        if (json is not null) Output.Json(ToJson(device.Name, rows, proofs, comparisons), json);
        return failed == 0 ? CommandLine.Done : CommandLine.Failed;
    }

    private static string Mark(bool passed) => passed ? "ok  " : "FAIL";

    private static string Summary(List<KernelCheckRow> rows, List<KernelProofRow> proofs, int schedules)
    {
        var (own, held) = (rows.Where(r => r.Variant is null).ToArray(), rows.Where(r => r.Variant is not null).ToArray());
        var text = $"{own.Count(r => r.Passed)} of {own.Length} op and dtype pairs";
        if (held.Length > 0) text += $" and {held.Count(r => r.Passed)} of {held.Length} variants of theirs";
        text += " agree with float64";
        if (proofs.Count > 0) text += $"; {proofs.Count(p => p.Passed)} of {proofs.Count} have no bad access, no race and the same bits in {schedules} random schedules";
        return text;
    }

    private static JsonObject ToJson(string device, List<KernelCheckRow> rows, List<KernelProofRow> proofs, StepComparisonResult[] comparisons) => new()
    {
        ["device"] = device,
        ["kernels"] = new JsonArray([.. rows.Select(r => (JsonNode)new JsonObject
        {
            ["op"] = r.Op, ["dtype"] = r.Dtype.Label(), ["variant"] = r.Variant, ["samples"] = r.Samples, ["passed"] = r.Passed,
            ["error"] = r.Worst is { } w && double.IsFinite(w.Error) ? w.Error : null, ["allowed"] = r.Worst?.Allowed, ["failure"] = r.Failure,
        })]),
        ["proofs"] = new JsonArray([.. proofs.Select(p => (JsonNode)new JsonObject
        {
            ["op"] = p.Op, ["dtype"] = p.Dtype.Label(), ["variant"] = p.Variant, ["samples"] = p.Samples, ["passed"] = p.Passed, ["finding"] = p.Finding,
        })]),
        ["steps"] = new JsonArray([.. comparisons.Select(c => (JsonNode)new JsonObject
        {
            ["model"] = c.Model, ["steps"] = c.Steps, ["largest_relative_difference"] = double.IsFinite(c.LargestDifference) ? c.LargestDifference : null,
            ["repeatable"] = c.Repeatable, ["passed"] = c.Passed, ["failure"] = c.Failure,
        })]),
    };
}
