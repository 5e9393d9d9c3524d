using System.Text.Json;
using GpuEngine.Lab;
using GpuEngine.Nn.Training;

namespace GpuEngine.Tests.Training;

/// <summary>A run small enough for tests that takes every path of a real one: norm, dropout, validation, clipping, schedule.</summary>
internal static class TinyJob
{
    public static RunConfig Config { get; } = TrainingSetup.Complete(new RunConfig
    {
        Data = "shapeset",
        Depth = 3,
        Width = 24,
        Dropout = 0.1,
        Epochs = 3,
        Limit = 320,
        BatchSize = 32,
        Validation = 64,
        ClipNorm = 1,
        Threads = 2,
        Seed = 7,
    });

    public static JobResult Run(RunConfig config, string folder, ITrainingObserver? observer = null) =>
        TrainingJob.Start(config, folder, observer ?? new Silent()).Run();

    /// <summary>metrics.jsonl without what depends on the clock.</summary>
    public static IReadOnlyList<string> Metrics(string folder) =>
    [
        .. File.ReadLines(RunFolder.MetricsPath(folder)).Select(line => JsonSerializer.Serialize(
            JsonDocument.Parse(line).RootElement.EnumerateObject().Where(p => p.Name is not ("seconds" or "images_per_second")).ToDictionary(p => p.Name, p => p.Value))),
    ];

    /// <summary>The bytes of the newest checkpoint.</summary>
    public static byte[] LastCheckpoint(string folder) =>
        File.ReadAllBytes(Directory.GetFiles(Path.Combine(folder, "checkpoints"), "*.safetensors").Order(StringComparer.Ordinal).Last());

    internal sealed class Silent : ITrainingObserver
    {
        public List<string> Notes { get; } = [];

        public void Note(string sentence) => Notes.Add(sentence);

        public void Step(TrainingProgress progress)
        {
        }

        public void Epoch(EpochMetrics metrics)
        {
        }
    }
}
