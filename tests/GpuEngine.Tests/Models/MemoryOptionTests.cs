using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Lab.Measure;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.Models;

/// <summary>Options that save memory: what is forecast is what is allocated, and the goals are reached on paper.</summary>
[Collection("device")]
public sealed class MemoryOptionTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>What an H200 plans with; nothing of it needs a GPU.</summary>
    private static readonly CudaPlanTarget H200 = new(new CudaLimits { HasCublas = true, HasCublasLt = true, HasCudnn = true }, new CudaDeviceOptions());

    /// <summary>Precision, recompute, checkpoint.</summary>
    public static TheoryData<string, bool, string?> Options => new()
    {
        { "fp32", false, null }, { "bf16", false, null }, { "fp32", true, null }, { "bf16", true, null }, { "fp32", false, "2" }, { "fp32", true, "auto" }, { "bf16", true, "auto" },
    };

    [Theory]
    [MemberData(nameof(Options))]
    public void A_forecast_is_what_a_trainer_allocates_class_by_class(string precision, bool recompute, string? checkpoint)
    {
        var config = Config(precision, recompute, checkpoint);
        using var cpu = new CpuDevice(2);
        AssertForecastHolds(config, cpu);
    }

    public static TheoryData<string> Models => [.. ModelCatalog.Names.Where(n => n != "resnet1202")];

    /// <summary>Every model trains a step at batch 2, in the memory that was forecast; 1,202 layers take minutes to plan and are left to the others.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void A_step_of_every_model_takes_what_was_forecast(string model)
    {
        var images = model switch { "mlp" or "lenet5" or "lenet5-original" => "1x28x28", "alexnet" => "3x224x224", _ => "3x64x64" };
        if (model == "airbench94") images = "3x32x32";
        using var cpu = new CpuDevice(2);
        AssertForecastHolds(Config("fp32", false, null) with { Model = model, Data = $"synthetic:{images}:10", Limit = 4, BatchSize = 2 }, cpu);
    }

    [Fact]
    public void On_a_cuda_device_as_well()
    {
        AssertForecastHolds(Config("fp32", true, "2"), under.Shared);
        AssertForecastHolds(Config("bf16", true, null), under.Shared);
        under.AssertNothingFound();
    }

    [Theory]
    [InlineData("fp32")]
    [InlineData("bf16")]
    public void Resnet50_at_batch_256_needs_no_more_than_065_of_torch_with_masks_and_recompute(string precision)
    {
        var config = TrainingSetup.Complete(new RunConfig
        {
            Model = "resnet50",
            Data = "synthetic:3x224x224:1000",
            Limit = 1024,
            BatchSize = 256,
            Optimizer = "sgd",
            Momentum = 0.9,
            Precision = precision,
            Validation = 0,
        });
        var torch = MemoryForecasts.Torch(config).Total;
        using var cpu = new CpuDevice(1);
        foreach (var target in new IPlanTarget[] { cpu.Target, H200 })
        {
            Assert.InRange(MemoryForecasts.Of(config with { Recompute = true }, target).Total / (double)torch, 0.3, 0.65);
            Assert.InRange(MemoryForecasts.Of(config with { Recompute = true, Checkpoint = "auto" }, target).Total / (double)torch, 0.1, 0.4);
        }
    }

    [Fact]
    public void What_torch_saves_is_counted_as_by_hand()
    {
        // conv 3x3 on [2, 3, 8, 8] to 4 channels, batch norm, relu, max pool 2, flatten, linear 64 -> 10, cross entropy; all f32.
        var net = new Sequential(
            new Conv2d(3, 4, 3, 1, 1, bias: false), new BatchNorm(4), new Activate(new Relu()), new Nn.Layers.MaxPool2d(2), new Flatten(), new Linear(64, 10));
        var torch = TorchEagerMemory.Of(new ModelVariables(net), [2, 3, 8, 8], Losses.CrossEntropy, DType.F32, 1);
        long conv = 4 * 2 * 4 * 8 * 8, pooled = conv / 4, logits = 4 * 2 * 10;
        // The batch (of which conv saves nothing new), conv's output and two statistics, relu's result (also the pool's input), indices, linear's input.
        Assert.Equal(conv + 2 * 16 + conv + 2 * pooled + pooled + logits, torch.Saved);
        Assert.Equal(4 * 2 * 3 * 8 * 8 + 2 * 8, torch.Inputs);
        var parameters = 108 + 8 + 650;
        Assert.Equal(4 * (parameters + 8), torch.Weights);
        Assert.Equal((4 * parameters, 4 * parameters), (torch.Gradients, torch.Optimizer));
        Assert.Equal(2 * conv, torch.Transient);
        Assert.Equal(torch.Weights + torch.Gradients + torch.Optimizer + torch.Inputs + torch.Saved + torch.Transient, torch.Total);
    }

    [Fact]
    public void What_if_says_what_each_option_saves_and_costs()
    {
        using var cpu = new CpuDevice(1);
        var config = Config("fp32", false, null);
        var rows = MemoryWhatIf.Table(config, MemoryForecasts.Of(config, cpu.Target), cpu.Target);
        Assert.Equal(
            ["as is", "bf16", "recompute", "checkpoint", "recompute + checkpoint", "recompute + bf16", "checkpoint + bf16", "recompute + checkpoint + bf16"],
            rows.Select(r => r.Options));
        var (recompute, checkpoint) = (rows[2], rows[3]);
        Assert.True(recompute.Share < 0.9 && checkpoint.Share < 0.9, $"{recompute.Share} {checkpoint.Share}");
        Assert.Equal((1.0, 0, 0.0, 0.0), (rows[0].Share, rows[0].ExtraLaunches, rows[0].ExtraBytes, rows[0].ExtraFlops));
        // Recompute streams; only checkpoints multiply and convolve again.
        Assert.InRange(recompute.ExtraFlops, 0, 0.05);
        Assert.InRange(checkpoint.ExtraFlops, 0.1, 0.45);
        Assert.True(recompute.ExtraLaunches > 0 && recompute.ExtraBytes > 0);
        // What is on already is not offered.
        var both = config with { Recompute = true, Checkpoint = "2", Precision = "bf16" };
        Assert.Single(MemoryWhatIf.Table(both, MemoryForecasts.Of(both, cpu.Target), cpu.Target));
    }

    [Theory]
    [InlineData("resnet18", 20)]
    [InlineData("resnet50", 53)]
    public void Images_are_turned_once_and_weights_once_each_way(string model, int convolutions)
    {
        var net = ModelCatalog.Find(model).Build(new ModelRequest(new ExampleShape(3, 64, 64), 10));
        var step = new TrainStep(new ModelVariables(net), [4, 3, 64, 64], Losses.CrossEntropy, new Sgd(0.1, 0.9), new StepOptions { Compute = DType.BF16, ChannelsLast = true });
        var turns = Planner.Plan(step.Program, H200).Launches.Where(l => l.Node.Op is PermuteOp && l.Node.Outputs[0].Rank == 4).Select(l => l.Node).ToList();
        var images = turns.Where(n => n.Outputs[0].Shape[0] == 4).ToList();
        Assert.Single(images);
        Assert.Equal(new Shape(4, 64, 64, 3), images[0].Outputs[0].Shape);
        // At most the weight and its gradient of each convolution; a 1x1 window has nothing to turn.
        var spatial = net.Parameters().Count(p => p.Parameter.Shape.Rank == 4 && p.Parameter.Shape[2] > 1);
        Assert.Equal(convolutions, net.Parameters().Count(p => p.Parameter.Shape.Rank == 4));
        Assert.InRange(turns.Count - 1, 0, 2 * spatial);
    }

    private static RunConfig Config(string precision, bool recompute, string? checkpoint) => TrainingSetup.Complete(new RunConfig
    {
        Model = "resnet20",
        Data = "synthetic:3x16x16:10",
        Limit = 64,
        BatchSize = 32,
        Optimizer = "sgd",
        Momentum = 0.9,
        Precision = precision,
        Validation = 0,
        Recompute = recompute ? true : null,
        Checkpoint = checkpoint,
        Epochs = 1,
    });

    private static void AssertForecastHolds(RunConfig config, IDevice device)
    {
        var forecast = MemoryForecasts.Of(config, device.Target);
        var data = TrainingSetup.OpenData(config);
        using var trainer = new Trainer(TrainingSetup.BuildModel(config, data.Shape, 10), TrainingSetup.Loss(config), TrainingSetup.BuildOptimizer(config), device)
        {
            Options = TrainingSetup.OptionsOf(config),
        };
        trainer.Prepare(data);
        foreach (var memoryClass in Enum.GetValues<MemoryClass>())
        {
            var (predicted, allocated) = (forecast.ByClass.GetValueOrDefault(memoryClass), trainer.AllocatedBytes.GetValueOrDefault(memoryClass));
            Assert.True(predicted == allocated, $"{memoryClass}: {predicted} bytes predicted, {allocated} allocated");
        }

        Assert.Equal(forecast.Total, trainer.PredictedBytes);
        trainer.RunStep(0.01);
        Assert.True(float.IsFinite(trainer.Executable.ReadScalar<float>(TrainStep.Loss)));
    }
}
