namespace GpuEngine.Nn.Training;

/// <summary>What is reported of an epoch: one line of metrics.jsonl.</summary>
/// <param name="Epoch">Epochs done, from 1.</param>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="TrainLoss">Mean of the batch losses while training (before each update).</param>
/// <param name="TrainAccuracy">Share of right answers while training.</param>
/// <param name="ValLoss">Mean loss on the validation split, null without one.</param>
/// <param name="ValAccuracy">Share of right answers on the validation split, null without one.</param>
/// <param name="ImagesPerSecond">Training examples per second of training, evaluation not counted.</param>
/// <param name="Seconds">Seconds since this process began to train, plus those of the run that it continued.</param>
/// <param name="Lr">Learning rate of the last step.</param>
/// <param name="PeakBytes">Bytes allocated on the device.</param>
public sealed record EpochMetrics(
    int Epoch, long Step, double TrainLoss, double TrainAccuracy, double? ValLoss, double? ValAccuracy,
    double ImagesPerSecond, double Seconds, double Lr, long PeakBytes);

/// <summary>Mean loss and share of right answers over a split.</summary>
public readonly record struct EvaluationResult(double Loss, double Accuracy, long Examples)
{
    public double Error => 1 - Accuracy;
}
