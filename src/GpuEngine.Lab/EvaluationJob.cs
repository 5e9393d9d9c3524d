using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Nn.Files;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab;

/// <summary>Evaluates saved weights.</summary>
public static class EvaluationJob
{
    /// <param name="config">Model and data.</param>
    /// <param name="device">Where to run.</param>
    /// <param name="run">A run whose newest whole checkpoint is taken, or null.</param>
    /// <param name="weights">A weights file, when there is no run.</param>
    /// <param name="split">test, validation or train.</param>
    /// <param name="note">Gets one sentence when something is worth saying.</param>
    /// <exception cref="UserException">There is no such split or no whole checkpoint, or the weights do not fit.</exception>
    public static EvaluationResult Run(RunConfig config, IDevice device, string? run, string? weights, string split, Action<string> note)
    {
        var path = weights;
        if (run is not null)
        {
            var point = new CheckpointFolder(run).NewestWhole();
            if (point.Skipped.Count > 0) note(point.Sentence);
            path = point.Newest?.Path ?? throw new UserException($"The run {run} holds no whole checkpoint; train it first.");
        }

        var data = TrainingSetup.OpenData(config);
        var source = split switch
        {
            "test" => data.Test,
            "train" => data.Train,
            "validation" => data.Validation ?? throw new UserException($"The data set '{data.Name}' has no validation split here; give --validation."),
            _ => throw new UserException(NearestName.Sentence("split", split, ["test", "validation", "train"])),
        };
        var variables = new ModelVariables(TrainingSetup.BuildModel(config, data.Shape, data.Classes.Count));
        using var store = device.CreateStore();
        using (var file = SafetensorsFile.Open(path!))
            CheckpointFile.LoadModel(file, variables, store);
        using var evaluator = new Evaluator(device, store, variables, data.Shape, config.BatchSize!.Value, Losses.CrossEntropy, TrainingSetup.ComputeOf(config), TrainingSetup.PassesOf(config));
        return evaluator.Run(source);
    }
}
