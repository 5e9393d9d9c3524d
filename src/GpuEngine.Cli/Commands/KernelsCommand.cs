using System.CommandLine;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Lab;
using GpuEngine.Lab.Hardware;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine kernels`: proves the kernels of a device.</summary>
internal static class KernelsCommand
{
    private const string Help = """
        Proves the kernels of a device right.

        Examples:
          gpuengine kernels check --device cpu
          gpuengine kernels check batch_norm --device sim --dtype f32
          gpuengine kernels check --device cuda --json results.json
        """;

    private const string CheckHelp = """
        Compares every op (or one), forward and backward, in each dtype with its decomposition in float64 on the CPU. The worst error
        may be at most twice that of the plain computation in the same dtype. With --steps it also follows 20 training steps of two
        small nets on the CPU and checks that a second run gives the same bits. Ends with exit code 1 when anything differs.

        Examples:
          gpuengine kernels check --device cpu
          gpuengine kernels check softmax --device cuda --dtype bf16
        """;

    public static Command Create()
    {
        var name = new Argument<string?>("NAME") { Description = "op by torch's name [all]", Arity = ArgumentArity.ZeroOrOne };
        var device = new Option<string>("--device") { Description = "auto, cpu, cuda or sim", DefaultValueFactory = _ => "auto", HelpName = "D" };
        var dtype = new Option<string?>("--dtype") { Description = "f32, f64 or bf16 [all]", HelpName = "T" };
        var steps = new Option<bool>("--steps") { Description = "also follow training steps on the CPU" };
        var json = new Option<string?>("--json") { Description = "write the result as JSON to FILE; - is stdout", HelpName = "FILE" };
        var check = new Command("check", CheckHelp) { name, device, dtype, steps, json };
        check.SetAction(parsed =>
        {
            OpSpec[] ops = parsed.GetValue(name) is { } one ? [OpCatalog.Find(one)] : [.. OpCatalog.All];
            DType[] dtypes = parsed.GetValue(dtype) is { } given ? [FloatType(given)] : [DType.F32, DType.BF16, DType.F64];
            using var opened = Device.Open(parsed.GetValue(device)!);
            return Check(opened, ops, dtypes, parsed.GetValue(steps), parsed.GetValue(json));
        });
        return new Command("kernels", Help) { check };
    }

    private static int Check(Core.Devices.IDevice device, OpSpec[] ops, DType[] dtypes, bool steps, string? json)
    {
        var report = json == "-" ? Console.Error : Console.Out;
        var rows = new List<KernelCheckRow>();
        foreach (var row in KernelCheck.Run(device, ops, dtypes))
        {
            rows.Add(row);
            if (row.Passed && ops.Length > 1) continue;
            report.WriteLine($"{(row.Passed ? "ok  " : "FAIL")} {row.Op,-24} {row.Dtype.Label(),-4} {row.Samples,2} samples  {row.Failure ?? row.Worst?.ToString()}");
        }

        StepComparisonResult[] comparisons = steps ? [.. StepComparison.Run(device)] : [];
        foreach (var c in comparisons)
        {
            var outcome = c.Failure ?? $"losses within {c.LargestDifference:E1} of the CPU's, {(c.Repeatable ? "bit-equal when repeated" : "NOT REPEATABLE")}";
            report.WriteLine($"{(c.Passed ? "ok  " : "FAIL")} {c.Steps} steps of {c.Model}: {outcome}");
        }

        var failed = rows.Count(r => !r.Passed) + comparisons.Count(c => !c.Passed);
        report.WriteLine($"{device.Name}: {rows.Count(r => r.Passed)} of {rows.Count} op and dtype pairs agree with float64{(failed == 0 ? "" : $"; {failed} checks failed")}.");
        if (json is not null) Output.Json(ToJson(device.Name, rows, comparisons), json);
        return failed == 0 ? CommandLine.Done : CommandLine.Failed;
    }

    private static DType FloatType(string name)
    {
        var dtype = DTypes.Parse(name);
        return dtype.IsFloat() ? dtype : throw new UserException($"--dtype must be f32, f64 or bf16, but is {name}.");
    }

    private static JsonObject ToJson(string device, List<KernelCheckRow> rows, StepComparisonResult[] comparisons) => new()
    {
        ["device"] = device,
        ["kernels"] = new JsonArray([.. rows.Select(r => (JsonNode)new JsonObject
        {
            ["op"] = r.Op, ["dtype"] = r.Dtype.Label(), ["samples"] = r.Samples, ["passed"] = r.Passed,
            ["error"] = r.Worst is { } w && double.IsFinite(w.Error) ? w.Error : null, ["allowed"] = r.Worst?.Allowed, ["failure"] = r.Failure,
        })]),
        ["steps"] = new JsonArray([.. comparisons.Select(c => (JsonNode)new JsonObject
        {
            ["model"] = c.Model, ["steps"] = c.Steps, ["largest_relative_difference"] = double.IsFinite(c.LargestDifference) ? c.LargestDifference : null,
            ["repeatable"] = c.Repeatable, ["passed"] = c.Passed, ["failure"] = c.Failure,
        })]),
    };
}
