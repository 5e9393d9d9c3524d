using GpuEngine.Nn.Data;

namespace GpuEngine.Nn.Training;

/// <summary>What a run remembers on the host besides the variables; it is part of every checkpoint.</summary>
public sealed record TrainerState
{
    /// <summary>The next batch.</summary>
    public LoaderCursor Cursor { get; init; }

    /// <summary>The lowest validation loss so far.</summary>
    public double BestValLoss { get; init; } = double.PositiveInfinity;

    /// <summary>Epochs since it was reached.</summary>
    public int EpochsWithoutGain { get; init; }
}
