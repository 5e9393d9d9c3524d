using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Nn.Files;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab.Reports;

/// <summary>A run as its folder tells it.</summary>
/// <param name="Name">The folder's name, with as much of the path as tells it from the others.</param>
/// <param name="Options">config.json.</param>
/// <param name="Epochs">metrics.jsonl, a record per epoch.</param>
public sealed record ComparedRun(string Name, JsonObject Options, IReadOnlyList<EpochMetrics> Epochs)
{
    public EpochMetrics Last => Epochs[^1];

    /// <summary>The lowest validation error, null without a validation split.</summary>
    public double? BestValError => Epochs.Max(e => e.ValAccuracy) is { } best ? 1 - best : null;
}

/// <summary>Runs side by side: what they were told differently, what came of it, and their curves in one picture.</summary>
public sealed class RunComparison
{
    private RunComparison(IReadOnlyList<ComparedRun> runs) => Runs = runs;

    public IReadOnlyList<ComparedRun> Runs { get; }

    /// <summary>Names of the options that are not the same in all runs; where a run writes to is its name, not an option.</summary>
    public IReadOnlyList<string> Differing =>
        [.. Runs.SelectMany(r => r.Options).Select(o => o.Key).Distinct().Where(k => k != "out" && Runs.Select(r => Text(r, k)).Distinct().Count() > 1)];

    /// <summary>Reads the folders of runs, also of some that are still going on.</summary>
    /// <exception cref="UserException">A folder holds no run, or a run without a whole epoch.</exception>
    public static RunComparison Of(IReadOnlyList<string> folders)
    {
        var full = folders.Select(f => Path.GetFullPath(f).TrimEnd(Path.DirectorySeparatorChar)).ToArray();
        return new RunComparison([.. folders.Zip(full).Select(f => Read(f.First, NameOf(f.Second, full)))]);
    }

    /// <summary>An option's value in a run, as in its config.json; empty where it is not set.</summary>
    public static string Text(ComparedRun run, string option) => run.Options[option] switch
    {
        null => "",
        JsonValue value when value.TryGetValue<string>(out var text) => text,
        var value => value.ToJsonString(),
    };

    public JsonObject ToJson() => new()
    {
        ["differing_options"] = new JsonArray([.. Differing.Select(d => (JsonNode)d)]),
        ["runs"] = new JsonArray([.. Runs.Select(r => (JsonNode)new JsonObject
        {
            ["run"] = r.Name,
            ["options"] = new JsonObject(Differing.Select(d => KeyValuePair.Create(d, r.Options[d]?.DeepClone()))),
            ["epochs"] = r.Last.Epoch,
            ["train_loss"] = r.Last.TrainLoss,
            ["train_error"] = 1 - r.Last.TrainAccuracy,
            ["val_error"] = 1 - r.Last.ValAccuracy,
            ["best_val_error"] = r.BestValError,
            ["images_per_second"] = r.Last.ImagesPerSecond,
        })]),
    };

    /// <summary>Writes one page with the table and the curves.</summary>
    public void Write(string path)
    {
        var page = new HtmlPage($"{Runs.Count} runs");
        page.Table(
            ["run", .. Differing, "epochs", "training loss", "training error", "validation error", "best", "images/s"],
            Runs.Select(r => (IReadOnlyList<string>)[
                r.Name, .. Differing.Select(d => Text(r, d)), $"{r.Last.Epoch}", Number(r.Last.TrainLoss, "F4"), Percent(1 - r.Last.TrainAccuracy),
                Percent(1 - r.Last.ValAccuracy), Percent(r.BestValError), Number(r.Last.ImagesPerSecond, "F0")]));
        page.Heading("Training").Charts(
            LineChart.Draw("Training loss", "epoch", "cross entropy", Curves(e => e.TrainLoss)),
            LineChart.Draw("Training error", "epoch", "share of wrong answers", Curves(e => 1 - e.TrainAccuracy)));
        if (Runs.Any(r => r.Epochs.Any(e => e.ValLoss is not null)))
        {
            page.Heading("Validation").Charts(
                LineChart.Draw("Validation loss", "epoch", "cross entropy", Curves(e => e.ValLoss ?? double.NaN)),
                LineChart.Draw("Validation error", "epoch", "share of wrong answers", Curves(e => 1 - (e.ValAccuracy ?? double.NaN))));
        }

        AtomicFile.WriteAllText(path, page.ToString());
    }

    private List<Curve> Curves(Func<EpochMetrics, double> of) => [.. Runs.Select(r => new Curve(r.Name, [.. r.Epochs.Select(e => (double)e.Epoch)], [.. r.Epochs.Select(of)]))];

    private static ComparedRun Read(string folder, string name)
    {
        var options = RunFolder.ReadConfig(folder);
        var epochs = JsonLinesFile.Read(RunFolder.MetricsPath(folder)).Select(Epoch).ToArray();
        if (epochs.Length == 0) throw new UserException($"The run in {folder} has not finished an epoch; compare it once metrics.jsonl has a line.");
        return new ComparedRun(name, options, epochs);
    }

    /// <summary>The folder's name, or as many of the folders above it as make it the only one of its kind.</summary>
    private static string NameOf(string folder, string[] all)
    {
        var parts = folder.Split(Path.DirectorySeparatorChar);
        for (var length = 1; length < parts.Length; length++)
        {
            var name = string.Join('/', parts[^length..]);
            if (all.Count(f => f == folder || f.EndsWith("/" + name, StringComparison.Ordinal)) == 1) return name;
        }

        return folder;
    }

    private static EpochMetrics Epoch(JsonElement line)
    {
        return new EpochMetrics(
            (int)Value("epoch"), (long)Value("step"), Value("train_loss"), Value("train_accuracy"), Optional("val_loss"), Optional("val_accuracy"),
            Value("images_per_second"), Value("seconds"), Value("lr"), (long)Value("peak_bytes"));

        double Value(string name) => Optional(name) ?? double.NaN;

        double? Optional(string name) => line.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
    }

    /// <summary>A share in percent, empty where there is none.</summary>
    public static string Percent(double? share) => share?.ToString("P2", CultureInfo.InvariantCulture) ?? "";

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
