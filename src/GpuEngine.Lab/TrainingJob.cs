using System.Text.Json;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Lab.Measure;
using GpuEngine.Lab.Reports;
using GpuEngine.Nn.Files;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab;

/// <summary>What a training job leaves behind.</summary>
public sealed record JobResult(
    string Folder, string Report, EvaluationResult Test, IReadOnlyList<EpochMetrics> Epochs, StepLedger Ledger,
    IReadOnlyDictionary<MemoryClass, long> AllocatedBytes, long PredictedBytes)
{
    /// <summary>The test with averaged views, where --tta asked for it.</summary>
    public EvaluationResult? Averaged { get; init; }
}

/// <summary>A whole run from options to report: data, model, training, test, bottlenecks.</summary>
public sealed class TrainingJob
{
    private readonly RunConfig _config;
    private readonly string _folder;
    private readonly ITrainingObserver _observer;
    private readonly ResumePoint? _resume;

    private TrainingJob(RunConfig config, string folder, ITrainingObserver observer, ResumePoint? resume)
    {
        (_config, _folder, _observer, _resume) = (config, folder, observer, resume);
    }

    /// <summary>A new run in a folder that holds none.</summary>
    public static TrainingJob Start(RunConfig config, string folder, ITrainingObserver observer) => new(config, folder, observer, null);

    /// <summary>Continues a run from its newest whole checkpoint; <paramref name="given"/> overrides its options.</summary>
    /// <exception cref="UserException">There is no run in the folder.</exception>
    public static TrainingJob Resume(string folder, JsonObject given, ITrainingObserver observer)
    {
        var config = TrainingSetup.Complete(RunConfig.FromJson(TrainingSetup.Merge(RunFolder.ReadConfig(folder), given), RunFolder.ConfigPath(folder)));
        return new TrainingJob(config, folder, observer, new CheckpointFolder(folder).NewestWhole());
    }

    /// <summary>Trains, tests, measures, reports.</summary>
    /// <exception cref="UserException">Something given does not fit.</exception>
    /// <exception cref="TrainingFailedException">The loss became NaN or infinite, or the device failed in mid-run.</exception>
    public JobResult Run()
    {
        using var device = Device.Open(_config.Device, _config.Threads ?? 0, _config.Precision == "tf32");
        var data = TrainingSetup.OpenData(_config);
        using var trainer = new Trainer(
            TrainingSetup.BuildModel(_config, data.Shape, data.Classes.Count), TrainingSetup.Loss(_config), TrainingSetup.BuildOptimizer(_config), device)
        {
            Options = TrainingSetup.OptionsOf(_config),
            ModelName = TrainingSetup.NameOf(_config),
            Observer = _observer,
        };
        trainer.Prepare(data);
        var step = 0L;
        if (_resume is not null)
        {
            if (_resume.Newest is { } checkpoint) step = trainer.Restore(checkpoint.Path);
            _observer.Note(_resume.Sentence);
        }
        else if (_config.InitFrom is { } weights)
        {
            using var file = SafetensorsFile.Open(weights);
            CheckpointFile.LoadModel(file, trainer.Step.Model, trainer.Store);
        }

        using var folder = _resume is null ? RunFolder.Create(_folder, _config.ToJson()) : RunFolder.Resume(_folder, step);
        try
        {
            trainer.Run(folder);
        }
        catch (CudaException exception)
        {
            throw new TrainingFailedException($"{exception.Message} {WhatIsLeft(folder)}", exception);
        }

        var test = trainer.Evaluate(data.Test);
        folder.AppendTest(test, trainer.Store.ReadArray<long>(trainer.Step.Step)[0]);
        EvaluationResult? averaged = TestTimeAveraging.Parse(_config.Tta) is { Views.Count: > 1 } views ? trainer.Evaluate(data.Test, views) : null;
        var epochs = ReadMetrics(_folder);
        // Measuring runs further steps, so it comes after everything that is kept has been saved.
        var ledger = new StepLedger(trainer.Executable, RateProbe.Measure(device));
        var result = new JobResult(_folder, RunFolder.ReportPath(_folder), test, epochs, ledger, trainer.AllocatedBytes, trainer.PredictedBytes) { Averaged = averaged };
        TrainingReport.Write(result, _config, data);
        return result;
    }

    /// <summary>What a person has after the device failed in mid-run, and how to go on.</summary>
    private string WhatIsLeft(RunFolder folder) => folder.Checkpoints.NewestWhole().Newest is { } newest
        ? $"The run ended; its checkpoint of step {newest.Step} is intact: go on from it with --resume --out {_folder}."
        : "The run ended before its first checkpoint; nothing was saved.";

    /// <summary>All epochs of a run, those before a resume included.</summary>
    private static List<EpochMetrics> ReadMetrics(string folder) =>
    [
        .. JsonLinesFile.Read(RunFolder.MetricsPath(folder)).Select(line => new EpochMetrics(
            line.GetProperty("epoch").GetInt32(), line.GetProperty("step").GetInt64(), Number(line, "train_loss") ?? double.NaN,
            Number(line, "train_accuracy") ?? double.NaN, Number(line, "val_loss"), Number(line, "val_accuracy"),
            Number(line, "images_per_second") ?? 0, Number(line, "seconds") ?? 0, Number(line, "lr") ?? 0, line.GetProperty("peak_bytes").GetInt64())),
    ];

    private static double? Number(JsonElement line, string name) =>
        line.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;
}
