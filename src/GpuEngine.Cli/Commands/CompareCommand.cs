using System.CommandLine;
using GpuEngine.Core;
using GpuEngine.Lab.Reports;
using Spectre.Console;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine compare`: runs side by side.</summary>
internal static class CompareCommand
{
    private const string Help = """
        Compares runs: the options in which they differ, what came of them, and with --out their curves on one page.

        Examples:
          gpuengine compare runs/plain20 runs/plain56 runs/resnet56 --out depth.html
          gpuengine compare runs/a runs/b --json -
        """;

    public static Command Create()
    {
        var runs = new Argument<string[]>("RUN") { Description = "folders of runs, finished or not", Arity = ArgumentArity.OneOrMore };
        var page = new Option<string?>("--out") { Description = "write a page with the curves to FILE", HelpName = "FILE" };
        var json = new Option<string?>("--json") { Description = "write the table as JSON to FILE; - is stdout", HelpName = "FILE" };
        var command = new Command("compare", Help) { runs, page, json };
        command.SetAction(parsed =>
        {
            var folders = parsed.GetValue(runs)!;
            if (folders.Length < 2) throw new UserException("`gpuengine compare` needs the folders of two or more runs.");
            var comparison = RunComparison.Of(folders);
            if (parsed.GetValue(page) is { } path) comparison.Write(path);
            if (parsed.GetValue(json) is { } file) Output.Json(comparison.ToJson(), file);
            if (parsed.GetValue(json) != "-") Print(comparison);
            return CommandLine.Done;
        });
        return command;
    }

    private static void Print(RunComparison comparison)
    {
        var table = new Table().Border(TableBorder.Simple);
        foreach (var column in new[] { "run" }.Concat(comparison.Differing)) table.AddColumn(Markup.Escape(column));
        foreach (var column in new[] { "epochs", "train loss", "train error", "val error", "best", "images/s" }) table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var run in comparison.Runs)
        {
            table.AddRow([
                .. new[] { run.Name }.Concat(comparison.Differing.Select(d => RunComparison.Text(run, d))).Select(Markup.Escape), $"{run.Last.Epoch}", $"{run.Last.TrainLoss:F4}",
                RunComparison.Percent(1 - run.Last.TrainAccuracy), RunComparison.Percent(1 - run.Last.ValAccuracy), RunComparison.Percent(run.BestValError), $"{run.Last.ImagesPerSecond:F0}"]);
        }

        AnsiConsole.Write(table);
    }
}
