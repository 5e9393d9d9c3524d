using System.CommandLine;
using System.Text.Json.Nodes;
using GpuEngine.Lab;
using GpuEngine.Lab.Measure;
using GpuEngine.Nn.Training;
using Spectre.Console;

namespace GpuEngine.Cli.Commands;

/// <summary>`gpuengine memory`: what a training step will need, before anything is allocated.</summary>
internal static class MemoryCommand
{
    private const string Help = """
        Predicts the peak device memory of training a model, by class, from the plan alone: nothing is allocated. On the CPU the
        prediction is exact, and `gpuengine train` reports the same number as peak_bytes.

        Examples:
          gpuengine memory --model mlp --depth 20 --width 256 --batch-size 128
          gpuengine memory --model lenet5 --data mnist --batch-size 512 --optimizer adam --json memory.json
        """;

    public static Command Create()
    {
        var command = new Command("memory", Help);
        var read = ConfigOptions.AddTo(command, ConfigOptions.Model, ConfigOptions.Data, ConfigOptions.Training);
        var json = new Option<string?>("--json") { Description = "write the forecast as JSON to FILE; - is stdout", HelpName = "FILE" };
        command.Options.Add(json);
        command.SetAction(parsed =>
        {
            var config = TrainingSetup.Complete(RunConfig.FromJson(read(parsed), "the command line"));
            using var device = Device.Open(config.Device, config.Threads ?? 0);
            var forecast = MemoryForecasts.Of(config, device);
            var whatIf = new[] { 0.5, 2, 4 }
                .Select(f => Math.Max(2, (int)(config.BatchSize!.Value * f))).Distinct()
                .Select(b => (Batch: b, Forecast: MemoryForecasts.Of(config with { BatchSize = b }, device))).ToList();
            if (parsed.GetValue(json) is { } path) Output.Json(ToJson(config, forecast, whatIf), path);
            if (parsed.GetValue(json) != "-") Print(config, forecast, whatIf);
            return CommandLine.Done;
        });
        return command;
    }

    private static void Print(RunConfig config, RunForecast forecast, List<(int Batch, RunForecast Forecast)> whatIf)
    {
        var table = new Table().Border(TableBorder.Simple).Title($"Predicted peak of training {config.Model} at batch {config.BatchSize}");
        table.AddColumn("class").AddColumn(new TableColumn("bytes").RightAligned()).AddColumn(new TableColumn("").RightAligned());
        foreach (var (memoryClass, bytes) in forecast.ByClass) table.AddRow(memoryClass.ToString().ToLowerInvariant(), $"{bytes:N0}", Output.Bytes(bytes));
        table.AddRow("[bold]total[/]", $"[bold]{forecast.Total:N0}[/]", Output.Bytes(forecast.Total));
        AnsiConsole.Write(table);

        var live = new Table().Border(TableBorder.Simple).Title("Largest activations at the peak");
        live.AddColumn("layer").AddColumn("made by").AddColumn("type").AddColumn(new TableColumn("bytes").RightAligned());
        foreach (var tensor in forecast.Step.AtPeak(8)) live.AddRow(Markup.Escape(tensor.Layer), tensor.Op, Markup.Escape(tensor.Type), $"{tensor.Bytes:N0}");
        AnsiConsole.Write(live);
        AnsiConsole.WriteLine($"Activations alive over the {forecast.Step.Launches} launches of a step: {Sparkline(forecast.Step.Timeline(), 60)}");
        AnsiConsole.WriteLine("What if: " + string.Join(", ", whatIf.Select(w => $"batch {w.Batch}: {Output.Bytes(w.Forecast.Total)}")));
    }

    private static JsonObject ToJson(RunConfig config, RunForecast forecast, List<(int Batch, RunForecast Forecast)> whatIf) => new()
    {
        ["model"] = config.Model,
        ["batch_size"] = config.BatchSize,
        ["predicted_bytes"] = ByClass(forecast),
        ["total_bytes"] = forecast.Total,
        ["launches"] = forecast.Step.Launches,
        ["timeline_activation_bytes"] = new JsonArray([.. forecast.Step.Timeline().Select(b => (JsonNode)JsonValue.Create(b))]),
        ["what_if"] = new JsonArray([.. whatIf.Select(w => (JsonNode)new JsonObject { ["batch_size"] = w.Batch, ["predicted_bytes"] = ByClass(w.Forecast), ["total_bytes"] = w.Forecast.Total })]),
    };

    private static JsonObject ByClass(RunForecast forecast)
    {
        var json = new JsonObject();
        foreach (var (memoryClass, bytes) in forecast.ByClass) json[memoryClass.ToString().ToLowerInvariant()] = bytes;
        return json;
    }

    private static string Sparkline(long[] values, int width)
    {
        const string Levels = "▁▂▃▄▅▆▇█";
        var top = Math.Max(1, values.Max());
        var buckets = Enumerable.Range(0, Math.Min(width, values.Length))
            .Select(i => values[(i * values.Length / Math.Min(width, values.Length))..Math.Max(i * values.Length / Math.Min(width, values.Length) + 1, (i + 1) * values.Length / Math.Min(width, values.Length))].Max());
        return string.Concat(buckets.Select(v => Levels[(int)(v * (Levels.Length - 1) / top)]));
    }
}
