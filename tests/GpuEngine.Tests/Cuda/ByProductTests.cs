using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// What a training step leaves beside the loss: the same on the CPU and in kernels, true, without a change to the step itself, and at
/// hardly any traffic.
/// </summary>
[Collection("device")]
public sealed class ByProductTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>, IDisposable
{
    private const int Batch = 24, Inputs = 16, Classes = 5;

    public void Dispose() => under.AssertNothingFound();

    /// <summary>Norm, residual, clipping; with a norm the activation is in its launch, without in the product's epilogue.</summary>
    [Theory]
    [InlineData(NormKind.Batch, false, false)]
    [InlineData(NormKind.Batch, true, true)]
    [InlineData(NormKind.Layer, false, true)]
    [InlineData(NormKind.None, true, false)]
    public void A_measured_step_is_the_step_and_measures_the_same_on_both_devices(NormKind norm, bool residual, bool clip)
    {
        using var cpu = new CpuDevice(1);
        var (plainLoss, _, plainWeights) = Run(cpu, norm, residual, clip, ByProducts.None);
        var (loss, expected, weights) = Run(cpu, norm, residual, clip, ByProducts.All);
        // An epilogue taken apart rounds once more; batch_norm's launch is the same.
        var same = norm == NormKind.Batch ? 0 : 1e-5;
        Assert.InRange(loss, plainLoss - same, plainLoss + same);
        Assert.All(plainWeights.Zip(weights), p => Assert.Equal(p.First, p.Second, 1e-5f));

        var (_, actual, _) = Run(under.Shared, norm, residual, clip, ByProducts.All);
        Assert.Equal(expected.Keys, actual.Keys);
        // Sums of at most 24 values of size 1 in another order.
        foreach (var (name, values) in expected)
            Assert.All(values.Zip(actual[name]), p => Assert.True(Math.Abs(p.First - p.Second) <= 1e-4, $"{name}: {p.Second} instead of {p.First}"));
        Assert.Equal(2, expected.Keys.Count(k => k.StartsWith("dead.", StringComparison.Ordinal)));
        Assert.All(expected.Where(v => v.Key.StartsWith("finite.", StringComparison.Ordinal)), v => Assert.Equal([1.0], v.Value));
    }

    [Fact]
    public void Gradient_norms_are_those_of_the_gradients()
    {
        using var cpu = new CpuDevice(1);
        foreach (var clip in new[] { false, true })
        {
            // One step of gradient descent at rate 1 subtracts the gradient, or what clipping at a limit far above leaves of it: all.
            var model = Model(NormKind.Batch, false);
            var step = new TrainStep(model, [Batch, 1, 4, 4], Losses.CrossEntropy, new Sgd(1), new StepOptions { Clipping = new(clip ? 1e6 : null, null), ByProducts = ByProducts.GradientNorms });
            Assert.Empty(step.Measurements.Layers);
            using var run = new Evaluation(cpu, step.Program);
            model.Initialize(run.Variables, 3);
            var before = model.Read(run.Variables).ToDictionary(p => p.Name, p => p.Values);
            Feed(run, poisoned: false);
            run.Set(TrainStep.LearningRate, [1]);
            run.Run();
            var measured = step.Measurements.Read(run.Executable);
            var after = model.Read(run.Variables).ToDictionary(p => p.Name, p => p.Values);
            Assert.Equal(model.Slots.Count, step.Measurements.Parameters.Count);
            foreach (var name in step.Measurements.Parameters)
            {
                var norm = Math.Sqrt(before[name].Zip(after[name]).Sum(p => Math.Pow(p.First - p.Second, 2)));
                // The difference of two weights of size 1 has an error of 2^-24, of at most 144 of them.
                Assert.InRange(measured["grad_norm." + name][0], norm - 2e-6, norm + 2e-6);
                Assert.Equal([1.0], measured["grad_finite." + name]);
            }
        }
    }

    [Fact]
    public void Statistics_are_those_of_the_channels_and_a_planted_dead_unit_is_found()
    {
        const int rows = 40, channels = 6;
        var x = F.Input("x", DType.F32, [rows, channels]);
        Tensor Channels(string name) => F.Input(name, DType.F32, [channels]);
        var y = F.Relu(F.BatchNorm(x, null, null, Channels("weight"), Channels("bias"), training: true).Output);
        var fused = Fusions.Apply([y]);
        var (map, layers) = LayerByProducts.Ask([fused[y]], ByProducts.All);
        var layer = Assert.Single(layers);
        Assert.IsType<BatchNormOp>(layer.Positive!.Node.Op);
        var random = new System.Random(2);
        double[] values = [.. Enumerable.Range(0, rows * channels).Select(_ => (double)(float)(3 + random.NextDouble()))];
        foreach (var device in new IDevice[] { new CpuDevice(1), under.Shared })
        {
            using var run = new Evaluation(device, [new("y", map[fused[y]]), new("mean", layer.Mean!), new("invstd", layer.InvStd!), new("positive", layer.Positive!)]);
            run.Set("x", values);
            run.Set("weight", [1, 1, 1, 1, 1, 1]);
            run.Set("bias", [0, 0, -10, 0, 10, 0]);
            run.Run();
            var output = run.Get("y");
            for (var c = 0; c < channels; c++)
            {
                double[] column = [.. Enumerable.Range(0, rows).Select(r => values[r * channels + c])];
                var (mean, positive) = (column.Average(), Enumerable.Range(0, rows).Count(r => output[r * channels + c] > 0));
                var variance = column.Average(v => (v - mean) * (v - mean));
                Assert.Equal(mean, run.Get("mean")[c], 5e-6);
                Assert.Equal(1 / Math.Sqrt(variance + layer.Eps), run.Get("invstd")[c], 1e-3);
                Assert.Equal(positive, run.Get("positive")[c]);
                Assert.Equal(c == 2, positive == 0);
                Assert.Equal(c == 4, positive == rows);
            }
        }
    }

    /// <summary>One value that is not finite is seen by every layer behind it and by the gradients.</summary>
    [Theory]
    [InlineData(NormKind.Batch)]
    [InlineData(NormKind.None)]
    public void A_poisoned_step_says_so(NormKind norm)
    {
        var (_, measured, _) = Run(under.Shared, norm, false, false, ByProducts.All, poisoned: true);
        var flags = measured.Where(v => v.Key.StartsWith("finite.", StringComparison.Ordinal) || v.Key.StartsWith("grad_finite.", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(flags);
        Assert.All(flags, f => Assert.Equal([0.0], f.Value));
    }

    /// <summary>Launches and bytes of a step of an mlp with batch norm, as the simulator counts them.</summary>
    [Fact]
    public void Measuring_costs_hardly_any_traffic()
    {
        CudaUnderTest.RequireSimulator();
        var (launches, bytes) = Counted(ByProducts.None);
        foreach (var (asked, share) in new[] { (ByProducts.Statistics | ByProducts.Finite, 1.0), (ByProducts.DeadUnits, 1.005), (ByProducts.GradientNorms, 1.005), (ByProducts.All, 1.01) })
        {
            var (asMany, more) = Counted(asked);
            Assert.Equal(launches, asMany);
            Assert.True(more <= share * bytes, $"{asked}: {more} bytes, without {bytes}");
        }

        static (int Launches, long Bytes) Counted(ByProducts asked)
        {
            using var checks = new SimulatorChecks("traffic");
            using var device = DeviceUnderTest.Open();
            var model = new ModelVariables(Mlp.Create(64, Classes, new MlpOptions { Depth = 2, Width = 64 }));
            var step = new TrainStep(model, [256, 1, 8, 8], Losses.CrossEntropy, new AdamW(), new StepOptions { Clipping = new(1, null), ByProducts = asked });
            using var run = new Evaluation(device, step.Program);
            model.Initialize(run.Variables, 3);
            run.Run();
            checks.ClearCounters();
            run.Run();
            return (checks.Launches.Count, checks.Launches.Sum(l => l.Bytes));
        }
    }

    private static ModelVariables Model(NormKind norm, bool residual) => new(Mlp.Create(Inputs, Classes, new MlpOptions
    {
        Depth = 2,
        Width = 12,
        Norm = norm,
        Residual = residual ? ResidualForm.Post : ResidualForm.None,
    }));

    private static (double Loss, IReadOnlyDictionary<string, double[]> Measured, float[] Weights) Run(
        IDevice device, NormKind norm, bool residual, bool clip, ByProducts asked, bool poisoned = false)
    {
        var model = Model(norm, residual);
        var step = new TrainStep(model, [Batch, 1, 4, 4], Losses.CrossEntropy, new Sgd(0.1, 0.9), new StepOptions { Clipping = new(clip ? 0.1 : null, null), ByProducts = asked });
        using var run = new Evaluation(device, step.Program);
        model.Initialize(run.Variables, 3);
        Feed(run, poisoned);
        run.Run();
        return (run.Get(TrainStep.Loss)[0], step.Measurements.Read(run.Executable), [.. model.Read(run.Variables).SelectMany(p => p.Values)]);
    }

    private static void Feed(Evaluation run, bool poisoned)
    {
        var random = new System.Random(5);
        double[] x = [.. Enumerable.Range(0, Batch * Inputs).Select(_ => (double)(float)(random.NextDouble() - 0.5))];
        if (poisoned) x[7] = double.NaN;
        run.Set(TrainStep.Input, x);
        run.Set(TrainStep.Target, [.. Enumerable.Range(0, Batch).Select(i => (double)(i % Classes))]);
        run.Set(TrainStep.LearningRate, [0.1]);
    }
}
