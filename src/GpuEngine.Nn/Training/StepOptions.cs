using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Training;

/// <summary>How a training or an evaluation step is made of a model; what one of the two has no use for, it does not look at.</summary>
public sealed record StepOptions
{
    /// <summary>Plain f32, nothing clipped, every pass that costs no time.</summary>
    public static StepOptions Default { get; } = new();

    /// <summary>Limits of the gradient.</summary>
    public Clipping Clipping { get; init; }

    /// <summary>The dtype between layers.</summary>
    public DType Compute { get; init; } = DType.F32;

    /// <summary>Whether images lie with their channels last between convolutions.</summary>
    public bool ChannelsLast { get; init; }

    /// <summary>The rewrites that the step goes through.</summary>
    public PassOptions Passes { get; init; } = PassOptions.Default;

    /// <summary>What becomes of a batch before the model sees it.</summary>
    public InputPipeline Pipeline { get; init; } = InputPipeline.None;

    /// <summary>What a training step leaves beside the loss; see <see cref="TrainStep.Measurements"/>.</summary>
    public ByProducts ByProducts { get; init; }

    /// <summary>
    /// Views of each image whose probabilities an evaluation averages; <see cref="EvalStep.Logits"/> are then the logarithms of the averages.
    /// </summary>
    public TestTimeAveraging Averaging { get; init; } = TestTimeAveraging.None;
}
