using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Training;

/// <summary>
/// A loss of logits [N, classes] against labels i32 [N]. A negative label marks a row that is only padding: it counts nothing.
/// </summary>
/// <param name="Name">The name in reports.</param>
/// <param name="Mean">The mean over the batch, which training descends.</param>
/// <param name="Sum">The sum over the rows, which evaluation adds up.</param>
public sealed record LossFunction(string Name, Func<Tensor, Tensor, Tensor> Mean, Func<Tensor, Tensor, Tensor> Sum);

/// <summary>The losses a classifier can be trained with.</summary>
public static class Losses
{
    /// <summary>The label of a padding row.</summary>
    public const int Ignored = -100;

    /// <summary>Softmax cross entropy.</summary>
    public static LossFunction CrossEntropy { get; } = SmoothedCrossEntropy(0);

    /// <summary>Softmax cross entropy with label smoothing (Szegedy et al. 2016); evaluation does without it.</summary>
    public static LossFunction SmoothedCrossEntropy(double smoothing) => new(
        "cross_entropy",
        (logits, labels) => F.CrossEntropy(logits, labels, labelSmoothing: smoothing),
        (logits, labels) => F.CrossEntropy(logits, labels, reduction: Reduction.Sum));
}
