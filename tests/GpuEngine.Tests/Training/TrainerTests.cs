using GpuEngine.Core.Cpu;
using GpuEngine.Core.Graph;
using GpuEngine.Lab.Measure;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Training;

public class TrainerTests
{
    [Fact]
    public void A_steady_step_allocates_nothing()
    {
        using var device = new CpuDevice(2);
        using var trainer = NewTrainer(device, depth: 3, width: 32);
        trainer.Prepare(Datasets.Shapeset(new DatasetOptions { Limit = 4096 }));
        for (var i = 0; i < 20; i++) trainer.RunStep(1e-3);
        // The calling thread runs the loop and its share of every kernel; other tests allocate on threads of their own.
        var own = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 50; i++) trainer.RunStep(1e-3);
        Assert.Equal(own, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Predicted_memory_is_what_is_allocated_by_class()
    {
        using var folder = new TemporaryFolder();
        using var device = new CpuDevice(2);
        var forecast = MemoryForecasts.Of(TinyJob.Config, device.Target);
        var result = TinyJob.Run(TinyJob.Config, folder["run"]);
        foreach (var memoryClass in Enum.GetValues<MemoryClass>())
        {
            var (predicted, allocated) = (forecast.ByClass.GetValueOrDefault(memoryClass), result.AllocatedBytes.GetValueOrDefault(memoryClass));
            Assert.True(predicted == allocated, $"{memoryClass}: {predicted} bytes predicted, {allocated} allocated");
        }

        Assert.Equal(forecast.Total, result.Epochs[^1].PeakBytes);
        Assert.Equal(forecast.Total, result.PredictedBytes);
    }

    [Fact]
    public void Twenty_images_are_learned_by_heart()
    {
        // The lectures' sanity check (A47): a model that cannot fit 20 samples has a bug.
        using var device = new CpuDevice(2);
        using var trainer = new Trainer(Mlp.Create(1024, 9, new MlpOptions { Depth = 3, Width = 64 }), Losses.CrossEntropy, new Adam(3e-3), device)
        {
            Options = new TrainerOptions { BatchSize = 20, Epochs = 60 },
        };
        var data = Datasets.Shapeset(new DatasetOptions { Limit = 20 });
        var frozen = new Dataset("frozen", data.Classes, new ExampleRange(data.Test, 0, 20), null, data.Test);
        trainer.Prepare(frozen);
        Assert.Equal(1.0, trainer.Run()[^1].TrainAccuracy);
    }

    [Fact]
    public void A_loss_that_is_no_number_ends_the_run_and_leaves_the_last_checkpoint_whole()
    {
        using var folder = new TemporaryFolder();
        var config = TinyJob.Config with { Epochs = 4, ClipNorm = null, Norm = "none", Lr = 1e-3 };
        TinyJob.Run(config with { Epochs = 1 }, folder["run"]);
        var saved = TinyJob.LastCheckpoint(folder["run"]);
        var e = Assert.Throws<TrainingFailedException>(() => Lab.TrainingJob.Resume(
            folder["run"], new System.Text.Json.Nodes.JsonObject { ["lr"] = 1e30, ["epochs"] = 4 }, new TinyJob.Silent()).Run());
        Assert.Contains("epoch 2", e.Message);
        Assert.Equal(saved, TinyJob.LastCheckpoint(folder["run"]));
    }

    [Fact]
    public void Lsuv_gives_every_hidden_layer_unit_variance_on_the_first_batch()
    {
        using var device = new CpuDevice(2);
        var model = Mlp.Create(1024, 9, new MlpOptions { Depth = 6, Width = 64, Norm = NormKind.None, Init = Nn.Initializers.Initializer.Create("lsuv") });
        using var trainer = new Trainer(model, Losses.CrossEntropy, new AdamW(), device) { Options = new TrainerOptions { BatchSize = 128 } };
        var data = Datasets.Shapeset(new DatasetOptions { Limit = 1280 });
        trainer.Prepare(data);
        using var loader = new BatchLoader(data.Train, BatchLoaderOptions.Training(128, 0));
        var variables = trainer.Step.Model;
        var again = LsuvInitialization.Run(device, trainer.Store, variables, loader, [128, 1, 32, 32]);
        Assert.Equal(6, again.Count);
        // A16: the variance of each output lies in [0.9, 1.1] after one pass, so a second pass has nothing left to do.
        Assert.All(again, layer => Assert.InRange(layer.StartStd * layer.StartStd, 0.9, 1.1));
    }

    [Fact]
    public void Early_stopping_ends_after_patience_epochs_without_a_lower_validation_loss()
    {
        using var folder = new TemporaryFolder();
        // A rate of 0 never improves anything after the first epoch.
        var result = TinyJob.Run(TinyJob.Config with { Lr = 0, Epochs = 10, Patience = 2, WeightDecay = 0, Dropout = 0, Norm = "layer" }, folder["run"]);
        Assert.Equal(3, result.Epochs.Count);
    }

    private static Trainer NewTrainer(CpuDevice device, int depth, int width) =>
        new(Mlp.Create(1024, 9, new MlpOptions { Depth = depth, Width = width }), Losses.CrossEntropy, new AdamW(), device)
        {
            Options = new TrainerOptions { BatchSize = 32 },
        };
}
