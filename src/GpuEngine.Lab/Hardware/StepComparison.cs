using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;

namespace GpuEngine.Lab.Hardware;

/// <summary>The same training steps on two devices.</summary>
/// <param name="Model">What was trained.</param>
/// <param name="Steps">How many steps.</param>
/// <param name="LargestDifference">Largest relative difference of the losses.</param>
/// <param name="Repeatable">Whether a second run on the device gave the same bits.</param>
/// <param name="FirstLoss">Loss of the first step.</param>
/// <param name="LastLoss">Loss of the last step.</param>
/// <param name="Failure">Why the steps could not be run, or null.</param>
public sealed record StepComparisonResult(
    string Model, int Steps, double LargestDifference, bool Repeatable, float FirstLoss, float LastLoss, string? Failure = null)
{
    /// <summary>Rounding differs between devices and is amplified by every step; 1e-4 over 20 steps is the promise.</summary>
    public const double Tolerance = 1e-4;

    public bool Passed => LargestDifference <= Tolerance && Repeatable;
}

/// <summary>Follows training steps on a device and on the CPU side by side, from the same weights and batches.</summary>
public static class StepComparison
{
    public static IEnumerable<StepComparisonResult> Run(IDevice device, int steps = 20)
    {
        // Adam divides by the gradient's own size, so an entry whose gradient is only rounding moves by whole steps. Weights and biases
        // under a batch norm have such entries; with sgd its steps can be followed, with adamw those of the layer-normed net.
        yield return Compare("mlp 3x64, batch norm, dropout, sgd", device, steps, new Sgd(0.05, 0.9), () => Mlp.Create(1024, 9, new MlpOptions { Depth = 3, Width = 64, Dropout = 0.1 }));
        yield return Compare("mlp 3x64, layer norm, gelu, adamw", device, steps, new AdamW(), () => Mlp.Create(1024, 9, new MlpOptions { Depth = 3, Width = 64, Norm = NormKind.Layer, Activation = "gelu" }));
    }

    private static StepComparisonResult Compare(string name, IDevice device, int steps, Optimizer optimizer, Func<Module> model)
    {
        using var cpu = new CpuDevice();
        var expected = Losses(cpu, model(), optimizer, steps);
        float[] actual, again;
        try
        {
            actual = Losses(device, model(), optimizer, steps);
            again = Losses(device, model(), optimizer, steps);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A finding like any other: what was found so far must still be written.
            return new StepComparisonResult(
                name, steps, double.PositiveInfinity, false, float.NaN, float.NaN, $"{e.GetType().Name}: {e.Message.Split('\n')[0]}");
        }

        var difference = expected.Zip(actual, (a, b) => double.IsFinite(b) ? Math.Abs(a - b) / Math.Abs(a) : double.PositiveInfinity).Max();
        return new StepComparisonResult(name, steps, difference, actual.SequenceEqual(again), actual[0], actual[^1]);
    }

    private static float[] Losses(IDevice device, Module model, Optimizer optimizer, int steps)
    {
        using var trainer = new Trainer(model, Nn.Training.Losses.CrossEntropy, optimizer, device) { Options = new TrainerOptions { BatchSize = 32, Clipping = new Clipping(1, null) } };
        trainer.Prepare(Datasets.Shapeset(new DatasetOptions { Limit = 32 * steps }));
        var losses = new float[steps];
        for (var i = 0; i < steps; i++)
        {
            trainer.RunStep(1e-3);
            losses[i] = trainer.Executable.ReadScalar<float>(TrainStep.Loss);
        }

        return losses;
    }
}
