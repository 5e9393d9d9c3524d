using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Lab;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Training;

/// <summary>Training in bf16: f32 masters beside the bf16 parameters that layers read, both written by the optimizer's step.</summary>
public class MasterCopyTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Layers_read_the_copy_and_the_optimizer_writes_it(bool clip)
    {
        var model = new ModelVariables(Mlp.Create(64, 9, new MlpOptions { Depth = 3, Width = 16, Norm = NormKind.None }));
        var step = new TrainStep(model, [8, 1, 8, 8], Losses.CrossEntropy, new AdamW(), new StepOptions { Clipping = new(clip ? 1 : null, null), Compute = DType.BF16 });
        Assert.All(model.Groups, g => Assert.Equal(DType.BF16, g.Copy!.Type.DType));
        // No cast of an arena in the step, and the weights' gradient is packed as it comes.
        Assert.DoesNotContain(step.Program.Nodes, n => n.Op is CastOp && model.Groups.Any(g => n.Inputs[0] == g.Arena.Value));
        Assert.Contains(step.Program.Nodes, n => n.Op is PackOp && n.Outputs[0].DType == DType.BF16);
        Assert.Equal(clip, step.Program.Nodes.Any(n => n.Op is ClippedStepOp { Rule.Copy: true }));
        Assert.Equal(model.Groups.Select(g => g.Copy), step.Program.Updates.Select(u => u.Variable).Where(v => v.Type.DType == DType.BF16));
        // Norms read their f32 masters, so a group with theirs has its gradients in f32.
        var normed = new ModelVariables(Mlp.Create(64, 9, new MlpOptions { Depth = 3, Width = 16 }));
        step = new TrainStep(normed, [8, 1, 8, 8], Losses.CrossEntropy, new AdamW(), new StepOptions { Clipping = new(clip ? 1 : null, null), Compute = DType.BF16 });
        Assert.All(step.Program.Nodes.Where(n => n.Op is PackOp), n => Assert.Equal(DType.F32, n.Outputs[0].DType));
        // Computing in f32, there is nothing to copy.
        var plain = new ModelVariables(Mlp.Create(64, 9, new MlpOptions { Depth = 3, Width = 16 }));
        _ = new TrainStep(plain, [8, 1, 8, 8], Losses.CrossEntropy, new AdamW(), default);
        Assert.All(plain.Groups, g => Assert.Null(g.Copy));
        Assert.Null(plain.CopyProgram());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_copy_is_the_rounded_master_after_every_step(bool clip)
    {
        using var device = new CpuDevice(2);
        using var trainer = new Trainer(Mlp.Create(1024, 9, new MlpOptions { Depth = 2, Width = 24 }), Losses.CrossEntropy, new Sgd(0.1, 0.9), device)
        {
            Options = new TrainerOptions { BatchSize = 32, Compute = DType.BF16, Clipping = new Clipping(clip ? 0.5 : null, null) },
        };
        trainer.Prepare(Datasets.Shapeset(new DatasetOptions { Limit = 640 }));
        var first = trainer.Store.ReadArray<float>(trainer.Step.Model.Groups[0].Arena);
        for (var i = 0; i < 4; i++)
        {
            foreach (var group in trainer.Step.Model.Groups)
            {
                var master = trainer.Store.ReadArray<float>(group.Arena);
                var rounded = ElementData.FromDoubles(DType.BF16, [.. master.Select(v => (double)v)]);
                var copy = new byte[rounded.Length];
                trainer.Store.Read(group.Copy!, copy);
                Assert.True(rounded.SequenceEqual(copy), $"step {i}, {group.Name}: {rounded.Zip(copy).Count(p => p.First != p.Second)} of {copy.Length}");
            }

            trainer.RunStep(0.1);
        }

        Assert.NotEqual(first, trainer.Store.ReadArray<float>(trainer.Step.Model.Groups[0].Arena));
    }

    [Fact]
    public void A_bf16_run_resumes_to_the_same_bits()
    {
        using var folder = new TemporaryFolder();
        var config = TinyJob.Config with { Precision = "bf16", CheckpointEvery = 4, Epochs = 2 };
        TinyJob.Run(config, folder["whole"]);
        Assert.Throws<InvalidOperationException>(() => TinyJob.Run(config, folder["cut"], new StopAfter(9)));
        TrainingJob.Resume(folder["cut"], [], new TinyJob.Silent()).Run();
        Assert.Equal(TinyJob.LastCheckpoint(folder["whole"]), TinyJob.LastCheckpoint(folder["cut"]));
        Assert.Equal(TinyJob.Metrics(folder["whole"]), TinyJob.Metrics(folder["cut"]));
    }

    private sealed class StopAfter(int steps) : ITrainingObserver
    {
        private int _done;

        public void Note(string sentence)
        {
        }

        public void Step(TrainingProgress progress)
        {
            if (++_done == steps) throw new InvalidOperationException("stopped");
        }

        public void Epoch(EpochMetrics metrics)
        {
        }
    }
}
