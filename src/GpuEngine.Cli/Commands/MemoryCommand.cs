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
        prediction is exact, and `gpuengine train` reports the same number as peak_bytes. Beside it: what options that save memory would
        make of it, what they cost, and what PyTorch's eager mode would need by formula. --device cuda plans for an H200 where there is no GPU.

        Examples:
          gpuengine memory --model mlp --depth 20 --width 256 --batch-size 128
          gpuengine memory --model lenet5 --data mnist --batch-size 512 --optimizer adam --json memory.json
          gpuengine memory --model resnet50 --data synthetic:3x224x224:1000 --batch-size 256 --precision bf16 --recompute --device cuda
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
            using var device = Device.ForPlanning(config.Device, config.Threads ?? 0, config.Precision == "tf32");
            if (device.IsImagined) System.Console.Error.WriteLine("There is no CUDA device here: planned for an H200 with cuBLAS and cuDNN.");
            var forecast = MemoryForecasts.Of(config, device.Target);
            var options = MemoryWhatIf.Table(config, forecast, device.Target);
            var torch = MemoryForecasts.Torch(config);
            var whatIf = new[] { 0.5, 2, 4 }
                .Select(f => Math.Max(2, (int)(config.BatchSize!.Value * f))).Distinct()
                .Select(b => (Batch: b, Forecast: MemoryForecasts.Of(config with { BatchSize = b }, device.Target))).ToList();
            if (parsed.GetValue(json) is { } path) Output.Json(ToJson(config, forecast, whatIf, options, torch), path);
            if (parsed.GetValue(json) != "-") Print(config, forecast, whatIf, options, torch);
            return CommandLine.Done;
        });
        return command;
    }

    private static void Print(
        RunConfig config, RunForecast forecast, List<(int Batch, RunForecast Forecast)> whatIf, IReadOnlyList<WhatIf> options, TorchEagerMemory torch)
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
        AnsiConsole.Write(OptionTable(options));
        AnsiConsole.WriteLine($"PyTorch eager, by formula: {Output.Bytes(torch.Total)} ({Output.Bytes(torch.Saved)} of saved tensors); ratio {(double)forecast.Total / torch.Total:F2}");
        AnsiConsole.WriteLine("What if: " + string.Join(", ", whatIf.Select(w => $"batch {w.Batch}: {Output.Bytes(w.Forecast.Total)}")));
    }

    private static Table OptionTable(IReadOnlyList<WhatIf> options)
    {
        var table = new Table().Border(TableBorder.Simple).Title("What if");
        table.AddColumn("options");
        foreach (var column in new[] { "peak", "share", "launches", "bytes moved", "flops" }) table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var row in options)
        {
            table.AddRow(
                row.Options, Output.Bytes(row.Forecast.Total), $"{row.Share:P0}", $"{row.ExtraLaunches:+0;-0;0}",
                Percent(row.ExtraBytes), Percent(row.ExtraFlops));
        }

        return table;

        static string Percent(double share) => $"{100 * share:+0.0;-0.0;0.0} %";
    }

    private static JsonObject ToJson(
        RunConfig config, RunForecast forecast, List<(int Batch, RunForecast Forecast)> whatIf, IReadOnlyList<WhatIf> options, TorchEagerMemory torch) => new()
        {
            ["model"] = config.Model,
            ["batch_size"] = config.BatchSize,
            ["predicted_bytes"] = ByClass(forecast),
            ["total_bytes"] = forecast.Total,
            ["launches"] = forecast.Step.Launches,
            ["timeline_activation_bytes"] = new JsonArray([.. forecast.Step.Timeline().Select(b => (JsonNode)JsonValue.Create(b))]),
            ["what_if"] = new JsonArray([.. whatIf.Select(w => (JsonNode)new JsonObject { ["batch_size"] = w.Batch, ["predicted_bytes"] = ByClass(w.Forecast), ["total_bytes"] = w.Forecast.Total })]),
            ["what_if_options"] = new JsonArray([.. options.Select(o => (JsonNode)new JsonObject
        {
            ["options"] = o.Options,
            ["predicted_bytes"] = ByClass(o.Forecast),
            ["total_bytes"] = o.Forecast.Total,
            ["share"] = o.Share,
            ["extra_launches"] = o.ExtraLaunches,
            ["extra_bytes_moved"] = o.ExtraBytes,
            ["extra_flops"] = o.ExtraFlops,
        })]),
            ["torch_eager"] = new JsonObject
            {
                ["weights_bytes"] = torch.Weights,
                ["gradients_bytes"] = torch.Gradients,
                ["optimizer_bytes"] = torch.Optimizer,
                ["inputs_bytes"] = torch.Inputs,
                ["saved_bytes"] = torch.Saved,
                ["transient_bytes"] = torch.Transient,
                ["total_bytes"] = torch.Total,
                ["share"] = (double)forecast.Total / torch.Total,
            },
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
