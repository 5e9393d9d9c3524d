using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Models;

/// <summary>What airbench94 has that other nets have not: whitening, dirac filters, biases with a rate of their own.</summary>
public class AirbenchTests
{
    [Fact]
    public void Whitened_patches_are_uncorrelated_and_of_variance_one()
    {
        var data = Datasets.Synthetic(new ExampleShape(3, 12, 12), 4, new DatasetOptions { Limit = 64 }, endless: false);
        var weight = WhiteningInitialization.Weight(data.Train, [24, 3, 2, 2]);
        Assert.All(Enumerable.Range(0, 144), i => Assert.Equal(-weight[i], weight[144 + i]));
        // The images once more through the filters: the covariance of the results is lambda / (lambda + 5e-4) on the diagonal.
        using var cpu = new CpuDevice(1);
        var (x, w) = (F.Input("x", DType.F32, [64, 3, 12, 12]), F.Input("w", DType.F32, [24, 3, 2, 2]));
        using var run = new Evaluation(cpu, [new("y", F.Conv2d(x, w))]);
        var images = new float[64 * 432];
        for (var n = 0; n < 64; n++) data.Train.Read(n, images.AsSpan(n * 432, 432), out _);
        run.Executable.Write<float>("x", images);
        run.Executable.Write<float>("w", weight);
        run.Run();
        var y = run.Get("y");
        for (var a = 0; a < 12; a++)
        {
            for (var b = 0; b <= a; b++)
            {
                var sum = 0.0;
                for (var i = 0; i < 64 * 121; i++) sum += y[(i / 121 * 24 + a) * 121 + i % 121] * y[(i / 121 * 24 + b) * 121 + i % 121];
                // f32 weights and products; the smallest eigenvalue of these noisy images is far above 5e-4.
                Assert.Equal(a == b ? 1 : 0, sum / (64 * 121), 5e-3);
            }
        }
    }

    [Fact]
    public void The_first_filters_pass_their_channel()
    {
        var values = new float[5 * 3 * 9];
        new PartialDirac().Fill(values, [5, 3, 3, 3], 1, 2);
        for (var filter = 0; filter < 3; filter++)
        {
            for (var i = 0; i < 27; i++) Assert.Equal(i == 9 * filter + 4 ? 1 : 0, values[27 * filter + i]);
        }

        var others = new float[5 * 3 * 9];
        new Kaiming(normal: false, a: Math.Sqrt(5)).Fill(others, [5, 3, 3, 3], 1, 2);
        Assert.Equal(others[81..], values[81..]);
    }

    [Fact]
    public void A_bias_of_rate_64_moves_64_times_as_far_and_decays_alike()
    {
        // One step of SGD on the sum of outputs of a norm: d/dbias is the number of rows.
        double Moved(Module norm, double scale)
        {
            using var cpu = new CpuDevice(1);
            using var store = cpu.CreateStore();
            var variables = new ModelVariables(new Sequential(norm));
            var loss = new LossFunction("sum", (logits, _) => F.Sum(logits), (logits, _) => F.Sum(logits));
            var step = new TrainStep(variables, [4, 2], loss, new Sgd(0.1, weightDecay: 0.5));
            variables.Initialize(store, 0);
            var bias = variables.Groups.Single();
            var slot = bias.Slots.Single(s => s.Name.EndsWith("bias", StringComparison.Ordinal));
            var arena = store.ReadArray<float>(bias.Arena);
            arena[slot.Offset] = (float)(2 / scale);
            store.Write<float>(bias.Arena, arena);
            using var executable = cpu.Load(Core.Plan.Planner.Plan(step.Program, cpu.Target), store);
            executable.Write<float>(TrainStep.Input, [1, 2, 3, 4, 5, 6, 7, 9]);
            executable.Write<int>(TrainStep.Target, [0, 1, 0, 1]);
            executable.Write<double>(TrainStep.LearningRate, [0.1]);
            executable.Run();
            return store.ReadArray<float>(bias.Arena)[slot.Offset] * scale;
        }

        // 2 - 0.1 (4 + 0.5 * 2) and 2 - 0.1 (64 * 4 + 0.5 * 2), to a few roundings of f32.
        Assert.Equal(1.5, Moved(new BatchNorm(2), 1), 1e-5);
        Assert.Equal(-23.7, Moved(new ShiftBatchNorm(2, 64, 1e-5, 0.1), 8), 1e-4);
    }

    [Fact]
    public void Other_sizes_are_refused()
    {
        var e = Assert.Throws<UserException>(() => Airbench.Create(new ExampleShape(1, 28, 28), 10));
        Assert.Contains("28x28", e.Message);
    }

    [Fact]
    public void A_few_steps_of_the_recipe_learn()
    {
        using var cpu = new CpuDevice(2);
        using var trainer = new Trainer(Airbench.Create(new ExampleShape(3, 32, 32), 4), Losses.SmoothedCrossEntropy(0.2), new Sgd(0.5, 0.85, nesterov: true), cpu)
        {
            Options = new TrainerOptions { BatchSize = 16, Augmentation = Augmentation.Parse("crop:2:reflect,flip:alternating") },
        };
        trainer.Prepare(Datasets.Synthetic(new ExampleShape(3, 32, 32), 4, new DatasetOptions { Limit = 16 }, endless: false));
        Assert.Contains(trainer.Store.ReadArray<float>(trainer.Step.Model.Buffers.First(b => b.Name == "whiten.weight").Variable), w => w != 0);
        trainer.RunStep(0.05);
        var first = trainer.Executable.ReadScalar<float>(TrainStep.Loss);
        for (var i = 0; i < 8; i++) trainer.RunStep(0.05);
        Assert.InRange(trainer.Executable.ReadScalar<float>(TrainStep.Loss), 0, 0.9 * first);
    }
}
