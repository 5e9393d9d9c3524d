namespace GpuEngine.Nn.Training;

/// <summary>Somebody who watches a run: a progress bar, a logger. Called on the training thread, so it must be quick.</summary>
public interface ITrainingObserver
{
    /// <summary>Something worth one line happened (resumed from, stopped early, ...).</summary>
    void Note(string sentence);

    /// <summary>A step is done. It is called for every step; an observer that reads the loss throttles itself.</summary>
    void Step(TrainingProgress progress);

    void Epoch(EpochMetrics metrics);
}

/// <summary>Where a run stands. One object is reused for every step.</summary>
public sealed class TrainingProgress
{
    private readonly Func<float> _readLoss;

    internal TrainingProgress(Func<float> readLoss) => _readLoss = readLoss;

    public int Epoch { get; internal set; }

    public int Epochs { get; internal set; }

    public long Batch { get; internal set; }

    public long BatchesPerEpoch { get; internal set; }

    public int BatchSize { get; internal set; }

    /// <summary>Seconds spent training in this epoch.</summary>
    public double Seconds { get; internal set; }

    /// <summary>Batches done in this epoch by this process.</summary>
    public long BatchesTimed { get; internal set; }

    public double ImagesPerSecond => Seconds > 0 ? BatchesTimed * BatchSize / Seconds : 0;

    /// <summary>The loss of the last batch. Reading it waits for the device.</summary>
    public float ReadLoss() => _readLoss();
}
