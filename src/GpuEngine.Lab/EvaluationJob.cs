using GpuEngine.Core;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Files;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab;

/// <summary>Evaluates saved weights.</summary>
public static class EvaluationJob
{
    /// <param name="config">Model and data, how images are prepared, and the views to average.</param>
    /// <param name="device">Where to run.</param>
    /// <param name="run">A run whose newest whole checkpoint is taken, or null.</param>
    /// <param name="weights">A weights file, when there is no run.</param>
    /// <param name="split">test, validation or train.</param>
    /// <param name="note">Gets one sentence when something is worth saying.</param>
    /// <exception cref="UserException">There is no such split or no whole checkpoint, or the weights do not fit.</exception>
    public static EvaluationResult Run(RunConfig config, IDevice device, string? run, string? weights, string split, Action<string> note)
    {
        var path = run is null ? weights! : NewestOf(run, note);
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
        using (var file = SafetensorsFile.Open(path))
            CheckpointFile.LoadModel(file, variables, store);
        var options = new StepOptions
        {
            Compute = TrainingSetup.ComputeOf(config),
            Passes = TrainingSetup.PassesOf(config),
            Pipeline = TrainingSetup.PipelineOf(config, data),
            Averaging = TestTimeAveraging.Parse(config.Tta),
        };
        using var evaluator = new Evaluator(device, store, variables, data.Shape, config.BatchSize!.Value, Losses.CrossEntropy, options);
        return evaluator.Run(source);
    }

    /// <summary>What the model answers to the images of a file.</summary>
    /// <param name="config">The model; the data are not opened.</param>
    /// <param name="device">Where to run.</param>
    /// <param name="run">A run whose newest whole checkpoint is taken, or null.</param>
    /// <param name="weights">A weights file, when there is no run.</param>
    /// <param name="images">A safetensors file with `input` [N, C, H, W], a float tensor, normalised as the model expects.</param>
    /// <param name="note">Gets one sentence when something is worth saying.</param>
    /// <returns>`output` [N, classes] in f32: the logits.</returns>
    /// <exception cref="UserException">A file cannot be read, or the weights do not fit the model on these images.</exception>
    public static SafetensorsWriter Answer(RunConfig config, IDevice device, string? run, string? weights, string images, Action<string> note)
    {
        using var inputs = SafetensorsFile.Open(images);
        if (!inputs.Tensors.TryGetValue(EvalStep.Input, out var tensor) || tensor.Shape.Count != 4)
            throw new UserException($"The file {images} needs a tensor '{EvalStep.Input}' of shape [N, C, H, W] with the images.");
        var shape = tensor.Shape.Select(d => (int)d).ToArray();
        var bytes = new byte[tensor.ByteLength];
        inputs.ReadInto(EvalStep.Input, bytes);
        var values = Array.ConvertAll(ElementData.ToDoubles(DTypes.Parse(tensor.Dtype.ToString()), bytes), v => (float)v);
        using var file = SafetensorsFile.Open(run is null ? weights! : NewestOf(run, note));
        using var store = device.CreateStore();
        var example = new ExampleShape(shape[1], shape[2], shape[3]);
        var variables = ModelOf(config, example, file);
        CheckpointFile.LoadModel(file, variables, store);
        var batch = Math.Max(1, Math.Min(config.BatchSize!.Value, shape[0]));
        var options = new StepOptions { Compute = TrainingSetup.ComputeOf(config), Passes = TrainingSetup.PassesOf(config) };
        using var evaluator = new Evaluator(device, store, variables, example, batch, Losses.CrossEntropy, options);
        var logits = evaluator.Logits(values);
        return new SafetensorsWriter().Add<float>("output", SafetensorsDtype.F32, [shape[0], logits.Length / Math.Max(1, shape[0])], logits);
    }

    /// <summary>The model with as many outputs as the file's has: one of its matrices is the classifier's, and only with the right one all fit.</summary>
    private static ModelVariables ModelOf(RunConfig config, ExampleShape example, SafetensorsFile file)
    {
        var widths = file.Tensors.Values.Where(t => t.Shape.Count == 2 && t.Shape[0] is > 0 and < int.MaxValue).Select(t => (int)t.Shape[0]).Distinct().ToArray();
        if (widths.Length == 0) throw new UserException($"The file {file.Path} holds no matrix, so it is not the weights of a classifier.");
        return widths.Select(width => new ModelVariables(TrainingSetup.BuildModel(config, example, width))).MinBy(m => CheckpointFile.Misfits(file, m).Count)!;
    }

    private static string NewestOf(string run, Action<string> note)
    {
        var point = new CheckpointFolder(run).NewestWhole();
        if (point.Skipped.Count > 0) note(point.Sentence);
        return point.Newest?.Path ?? throw new UserException($"The run {run} holds no whole checkpoint; train it first.");
    }
}
