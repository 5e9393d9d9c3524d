using GpuEngine.Lab;
using GpuEngine.Lab.Measure;
using Spectre.Console;

namespace GpuEngine.Cli.Screen;

/// <summary>The end of a run: result, bottlenecks, memory, where to read on.</summary>
internal static class TrainingSummary
{
    private const int Rows = 10;

    public static void Print(JobResult result)
    {
        var out_ = Console.Out;
        out_.WriteLine();
        out_.WriteLine($"test error {result.Test.Error:P2}   test loss {result.Test.Loss:F4}   ({result.Test.Examples} images)");
        if (result.Averaged is { } averaged) out_.WriteLine($"with averaged views: test error {averaged.Error:P2}   test loss {averaged.Loss:F4}");
        out_.WriteLine();
        Bottlenecks(result.Ledger);
        Memory(result);
        out_.WriteLine($"run: {result.Folder}");
        out_.WriteLine($"report: {result.Report}");
    }

    private static void Bottlenecks(StepLedger ledger)
    {
        var total = ledger.Seconds;
        // Where stdout is no terminal a narrow default width would break every row.
        AnsiConsole.Profile.Width = Math.Max(AnsiConsole.Profile.Width, 110);
        var table = new Table().Border(TableBorder.Simple);
        table.AddColumn(new TableColumn("op").NoWrap());
        foreach (var name in new[] { "launches", "ms/step", "share", "GB/s", "GFLOP/s", "at its limit" }) table.AddColumn(new TableColumn(name).RightAligned());
        table.AddColumn("bound by");
        foreach (var row in ledger.ByOp().Take(Rows))
        {
            table.AddRow(
                row.Op, $"{row.Launches}", $"{row.Seconds * 1e3:F3}", $"{row.Seconds / total:P1}", $"{row.GigabytesPerSecond:F1}",
                $"{row.GigaflopsPerSecond:F1}", $"{row.LimitSeconds / row.Seconds:P0}", row.Verdict.ToString().ToLowerInvariant());
        }

        AnsiConsole.Write(table);
        var rates = ledger.Rates;
        Console.Out.WriteLine(
            $"One step takes {total * 1e3:F2} ms; it would take {ledger.ByOp().Sum(r => r.LimitSeconds) * 1e3:F2} ms if every op ran at the limit of this machine, measured now: copy {rates.BytesPerSecond / 1e9:F1} GB/s, GEMM {rates.FlopsPerSecond / 1e9:F0} GFLOP/s, launch {rates.LaunchSeconds * 1e6:F2} us.");
    }

    private static void Memory(JobResult result)
    {
        var parts = result.AllocatedBytes.Where(p => p.Value > 0).OrderByDescending(p => p.Value).Select(p => $"{p.Key.ToString().ToLowerInvariant()} {Output.Bytes(p.Value)}");
        var total = result.AllocatedBytes.Values.Sum();
        var verdict = total == result.PredictedBytes ? "as predicted before the run" : $"but {Output.Bytes(result.PredictedBytes)} were predicted";
        Console.Out.WriteLine($"Device memory: {Output.Bytes(total)} ({string.Join(", ", parts)}), {verdict}.");
    }
}
