using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// How far twenty steps of a trainer on the device are from the CPU's. Where a step divides a gradient by its own size (Adam),
/// an entry whose gradient is rounding alone moves by whole learning rates in a direction that rounding decides: the weights of
/// a pixel that is the same in all images of a batch, below a batch norm, have such gradients. There the CPU differs from
/// itself as much when its starting weights move by one unit in the last place, and no device can be asked for more.
/// </summary>
[Collection("device")]
public sealed class DeviceDriftTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private const int Steps = 20;

    // Measured: 2e-7 for each; the promise is 1e-4.
    [Theory]
    [InlineData(NormKind.Batch, false)]
    [InlineData(NormKind.Layer, true)]
    public void Losses_follow_the_cpus(NormKind norm, bool adam)
    {
        using var cpu = new CpuDevice(1);
        Assert.InRange(Distance(Losses(cpu, norm, adam), Losses(under.Shared, norm, adam)), 0, 1e-4);
    }

    [Fact]
    public void Under_batch_norm_adamw_drifts_no_further_than_the_cpu_from_itself()
    {
        using var cpu = new CpuDevice(1);
        var exact = Losses(cpu, NormKind.Batch, true);
        var noise = Enumerable.Range(1, 4).Select(seed => Distance(exact, Losses(cpu, NormKind.Batch, true, seed))).ToArray();
        // What makes the promise of 1e-4 impossible here: were it kept by the CPU itself, this test would have to go.
        Assert.True(noise.Max() > 1e-4, $"one unit in the last place moves the losses by {noise.Max():E1} only");
        // Four draws of noise scatter by a factor of ten among themselves (5e-4 to 1.2e-2 measured).
        Assert.InRange(Distance(exact, Losses(under.Shared, NormKind.Batch, true)), 0, 10 * noise.Max());
    }

    private static double Distance(float[] a, float[] b) => a.Zip(b, (x, y) => Math.Abs(x - y) / Math.Abs(x)).Max();

    private static float[] Losses(IDevice device, NormKind norm, bool adam, int noiseSeed = 0)
    {
        var model = Mlp.Create(1024, 9, new MlpOptions { Depth = 3, Width = 64, Norm = norm });
        Optimizer optimizer = adam ? new AdamW() : new Sgd(0.05, 0.9);
        using var trainer = new Trainer(model, Nn.Training.Losses.CrossEntropy, optimizer, device) { Options = new TrainerOptions { BatchSize = 32 } };
        trainer.Prepare(Datasets.Shapeset(new DatasetOptions { Limit = 32 * Steps }));
        if (noiseSeed > 0) Nudge(trainer, noiseSeed);
        var losses = new float[Steps];
        for (var i = 0; i < Steps; i++)
        {
            trainer.RunStep(adam ? 1e-3 : 0.05);
            losses[i] = trainer.Executable.ReadScalar<float>(TrainStep.Loss);
        }

        return losses;
    }

    /// <summary>Moves about half of all weights to the next representable number.</summary>
    private static void Nudge(Trainer trainer, int seed)
    {
        var random = new System.Random(seed);
        var flat = trainer.Step.Program.Variables.First(v => v is { MemoryClass: MemoryClass.Weights, Type.DType: DType.F32 });
        var weights = trainer.Store.ReadArray<float>(flat);
        for (var i = 0; i < weights.Length; i++)
        {
            if (random.Next(2) == 0) weights[i] = MathF.BitIncrement(weights[i]);
        }

        trainer.Store.Write<float>(flat, weights);
    }
}
