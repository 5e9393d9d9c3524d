using System.Text.Json;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Nn.Files;

namespace GpuEngine.Nn.Training;

/// <summary>
/// The folder of a run: config.json, metrics.jsonl, checkpoints, TensorBoard events. It belongs to one run; a second one must
/// resume it or go elsewhere.
/// </summary>
public sealed class RunFolder : IDisposable
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private readonly JsonLinesFile _metrics;
    private readonly TensorBoardWriter _events;

    private RunFolder(string path, long resumedStep)
    {
        Path = path;
        Checkpoints = new CheckpointFolder(path);
        Checkpoints.RemoveLeftovers();
        _metrics = JsonLinesFile.Open(MetricsPath(path));
        _metrics.TruncateAfter(resumedStep);
        _events = new TensorBoardWriter(path, resumedStep > 0 ? resumedStep + 1 : null);
    }

    public string Path { get; }

    public CheckpointFolder Checkpoints { get; }

    public static string ConfigPath(string run) => System.IO.Path.Combine(run, "config.json");

    public static string MetricsPath(string run) => System.IO.Path.Combine(run, "metrics.jsonl");

    public static string ReportPath(string run) => System.IO.Path.Combine(run, "report.html");

    /// <summary>Starts a run.</summary>
    /// <exception cref="UserException">The folder holds a run already or cannot be written.</exception>
    public static RunFolder Create(string path, JsonObject config)
    {
        if (File.Exists(ConfigPath(path)))
            throw new UserException($"The folder {path} already holds a run; continue it with --resume, or choose another --out.");
        Directory(path);
        AtomicFile.WriteAllText(ConfigPath(path), config.ToJsonString(Indented) + "\n");
        return new RunFolder(path, 0);
    }

    /// <summary>Opens a run to continue it after <paramref name="step"/>; what was logged later is dropped.</summary>
    public static RunFolder Resume(string path, long step) => new(path, step);

    /// <summary>The options a run was started with.</summary>
    /// <exception cref="UserException">There is no run, or its config is damaged.</exception>
    public static JsonObject ReadConfig(string path)
    {
        var file = ConfigPath(path);
        if (!File.Exists(file))
            throw new UserException($"There is no run in {path}: config.json is missing; give the folder that a `gpuengine train --out` made.");
        try
        {
            return JsonNode.Parse(File.ReadAllText(file)) as JsonObject ?? throw new JsonException();
        }
        catch (JsonException e)
        {
            throw new UserException($"The file {file} is not valid JSON; restore it or start a new run with another --out.", e);
        }
    }

    public void Append(EpochMetrics m)
    {
        _metrics.Append(
            ("epoch", m.Epoch), ("step", m.Step), ("train_loss", m.TrainLoss), ("train_accuracy", m.TrainAccuracy),
            ("val_loss", m.ValLoss), ("val_accuracy", m.ValAccuracy), ("images_per_second", m.ImagesPerSecond),
            ("seconds", m.Seconds), ("lr", m.Lr), ("peak_bytes", m.PeakBytes));
        Scalar("loss/train", m.TrainLoss);
        Scalar("accuracy/train", m.TrainAccuracy);
        if (m.ValLoss is { } loss) Scalar("loss/validation", loss);
        if (m.ValAccuracy is { } accuracy) Scalar("accuracy/validation", accuracy);
        Scalar("speed/images_per_second", m.ImagesPerSecond);
        Scalar("lr", m.Lr);

        void Scalar(string tag, double value) => _events.AddScalar(tag, (float)value, m.Step);
    }

    /// <summary>Records the result on the test split.</summary>
    public void AppendTest(EvaluationResult test, long step)
    {
        _events.AddScalar("loss/test", (float)test.Loss, step);
        _events.AddScalar("accuracy/test", (float)test.Accuracy, step);
    }

    public void Dispose()
    {
        _metrics.Dispose();
        _events.Dispose();
    }

    private static void Directory(string path)
    {
        try
        {
            System.IO.Directory.CreateDirectory(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserException($"The run folder {path} cannot be made ({e.Message.TrimEnd('.')}); choose another --out.", e);
        }
    }
}
