using GpuEngine.Core.Graph;
using GpuEngine.Nn.Optimizers;

namespace GpuEngine.Nn.Training;

/// <summary>How a model is trained.</summary>
public sealed record TrainerOptions
{
    public int Epochs { get; init; } = 5;

    public int BatchSize { get; init; } = 128;

    public ulong Seed { get; init; }

    /// <summary>The learning rate over the steps, as <see cref="LearningRateSchedule.Parse"/> reads it.</summary>
    public string Schedule { get; init; } = "constant";

    public Clipping Clipping { get; init; }

    /// <summary>Stop after so many epochs without a lower validation loss; null never stops early.</summary>
    public int? Patience { get; init; }

    /// <summary>Also save a checkpoint every so many steps; null saves at the end of epochs only.</summary>
    public int? CheckpointEvery { get; init; }

    /// <summary>Checkpoints kept, the newest ones.</summary>
    public int KeepCheckpoints { get; init; } = 3;

    /// <summary>The dtype of activations; weights and moments stay f32.</summary>
    public DType Compute { get; init; } = DType.F32;

    /// <summary>Random transforms of the training images, made on the device; evaluation does without.</summary>
    public Augmentation Augmentation { get; init; } = Augmentation.None;

    /// <summary>The rewrites that training and evaluation go through.</summary>
    public PassOptions Passes { get; init; } = PassOptions.Default;

    /// <summary>What each step leaves beside the loss, for <see cref="StepMeasurements.Read"/> of <see cref="TrainStep.Measurements"/>.</summary>
    public ByProducts ByProducts { get; init; }
}
