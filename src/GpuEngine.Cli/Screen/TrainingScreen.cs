using System.Diagnostics;
using GpuEngine.Nn.Training;

namespace GpuEngine.Cli.Screen;

/// <summary>
/// What a person sees while a model trains: a line per epoch on stdout and, on a terminal, one progress line on stderr that is
/// redrawn ten times a second.
/// </summary>
internal sealed class TrainingScreen : ITrainingObserver, IDisposable
{
    private const double RedrawSeconds = 0.1;
    private readonly bool _terminal = !Console.IsErrorRedirected;
    private long _drawn;
    private bool _dirty;

    public void Note(string sentence)
    {
        Clear();
        Console.Error.WriteLine(sentence);
    }

    public void Step(TrainingProgress progress)
    {
        if (!_terminal || Stopwatch.GetElapsedTime(_drawn).TotalSeconds < RedrawSeconds) return;
        _drawn = Stopwatch.GetTimestamp();
        const int Width = 24;
        var filled = (int)(progress.Batch * Width / progress.BatchesPerEpoch);
        var batchesLeft = (progress.Epochs - progress.Epoch) * progress.BatchesPerEpoch + progress.BatchesPerEpoch - progress.Batch;
        var left = progress.BatchesTimed > 0 ? TimeSpan.FromSeconds(batchesLeft * progress.Seconds / progress.BatchesTimed) : TimeSpan.Zero;
        var bar = new string('━', filled) + new string('─', Width - filled);
        var eta = left.TotalHours >= 1 ? $"{(int)left.TotalHours}:{left:mm\\:ss}" : $"{(int)left.TotalMinutes}:{left:ss}";
        Console.Error.Write(
            $"\r\u001b[Kepoch {progress.Epoch}/{progress.Epochs} {bar} {progress.Batch}/{progress.BatchesPerEpoch}  loss {progress.ReadLoss():F4}  {progress.ImagesPerSecond:N0} images/s  ETA {eta}");
        _dirty = true;
    }

    public void Epoch(EpochMetrics metrics)
    {
        Clear();
        var validation = metrics.ValLoss is { } loss ? $"  val loss {loss:F4}  val error {1 - metrics.ValAccuracy!.Value,7:P2}" : "";
        Console.Out.WriteLine(
            $"epoch {metrics.Epoch,3}  step {metrics.Step,6}  train loss {metrics.TrainLoss:F4}  train error {1 - metrics.TrainAccuracy,7:P2}{validation}  {metrics.ImagesPerSecond,8:N0} images/s  {metrics.Seconds:F1} s");
    }

    public void Finish() => Clear();

    public void Dispose() => Clear();

    private void Clear()
    {
        if (_dirty) Console.Error.Write("\r\u001b[K");
        _dirty = false;
    }
}
