using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Lab;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Training;
using GpuEngine.Tests.Cuda;
using GpuEngine.Tests.Training;
using Xunit;

namespace GpuEngine.Tests.Images;

/// <summary>Augmentation inside the training step, evaluation without it, and averaged views.</summary>
[Collection("device")]
public sealed class AugmentedTrainingTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private static readonly ExampleShape Shape = new(3, 8, 8);

    [Theory]
    [InlineData(3)]
    [InlineData(13)]
    public void A_run_stopped_and_resumed_draws_the_same(int steps)
    {
        using var folder = new TemporaryFolder();
        var config = TrainingSetup.Complete(new RunConfig
        {
            Data = "synthetic:3x8x8:4:96",
            Model = "mlp",
            Depth = 2,
            Width = 16,
            Epochs = 3,
            BatchSize = 16,
            CheckpointEvery = 2,
            Threads = 2,
            Seed = 3,
            Augment = "crop:2:reflect,flip,cutout:3,jitter:0.4:0.4:0.4",
        });
        TinyJob.Run(config, folder["whole"]);
        Assert.ThrowsAny<Exception>(() => TinyJob.Run(config, folder["cut"], new StopAfter(steps)));
        TrainingJob.Resume(folder["cut"], [], new TinyJob.Silent()).Run();
        Assert.Equal(TinyJob.LastCheckpoint(folder["whole"]), TinyJob.LastCheckpoint(folder["cut"]));
        Assert.Contains("\"augment\": \"crop:2:reflect", File.ReadAllText(RunFolder.ConfigPath(folder["cut"])), StringComparison.Ordinal);
        TinyJob.Run(config with { Augment = "none" }, folder["none"]);
        Assert.NotEqual(TinyJob.LastCheckpoint(folder["whole"]), TinyJob.LastCheckpoint(folder["none"]));
    }

    [Fact]
    public void A_step_on_the_device_sees_the_cpus_images()
    {
        var pipeline = InputPipeline.Of(Augmentation.Parse("crop:2,flip,cutout:3"), Shape, Statistics());
        var generator = F.Literal([2], DType.I64, 3, 4);
        using var cpu = new CpuDevice(2);
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var x = F.Input("x", DType.U8, [6, 3, 8, 8]);
            var y = pipeline.Training(x, generator, dtype);
            Assert.Equal(dtype, y.DType);
            Assert.Equal(Values(cpu, y), Values(under.Shared, y));
        }
    }

    [Fact]
    public void Evaluation_normalises_bytes_as_training_does_and_augments_nothing()
    {
        var data = Bytes();
        var pipeline = InputPipeline.Of(Augmentation.Parse("flip:0.5,crop:1"), Shape, data.Train.Statistics);
        Assert.True(pipeline.ReadsBytes);
        using var cpu = new CpuDevice(1);
        using var loader = new BatchLoader(data.Train, BatchLoaderOptions.Evaluation(4) with { Bytes = true, Prefetch = 0 });
        var batch = loader.Take();
        Assert.Empty(batch.Inputs);
        var x = F.Input("x", DType.U8, [4, 3, 8, 8]);
        using var evaluation = new Evaluation(cpu, [new("y", pipeline.Evaluation(x, View.Plain, DType.F32))]);
        pipeline.Write(evaluation.Executable, "x", batch);
        evaluation.Run();
        var found = evaluation.Get("y");
        // The loader's floats, up to the roundings of another formula: (x/255 - mean)/deviation on numbers up to 2.
        using var floats = new BatchLoader(data.Train, BatchLoaderOptions.Evaluation(4) with { Prefetch = 0 });
        var expected = floats.Take().Inputs;
        for (var i = 0; i < found.Length; i++) Assert.Equal(expected[i], found[i], 2e-6);
    }

    [Fact]
    public void Without_augmentation_nothing_changes()
    {
        Assert.Same(InputPipeline.None, InputPipeline.Of(Augmentation.Parse("none"), Shape, Statistics()));
        Assert.False(InputPipeline.None.ReadsBytes);
        var x = F.Input("x", DType.F32, [2, 3, 8, 8]);
        Assert.Same(x, InputPipeline.None.Training(x, F.Literal([2], DType.I64, 0, 0), DType.F32));
        Assert.Same(x, InputPipeline.None.Evaluation(x, View.Plain, DType.F32));
    }

    [Fact]
    public void Alternating_flips_show_both_sides_of_every_image_in_two_epochs()
    {
        // Images of two pixels, 0 and 1: what comes out says whether it was flipped.
        const int Count = 2000;
        var pixels = new byte[2 * Count];
        for (var i = 1; i < pixels.Length; i += 2) pixels[i] = 255;
        var images = new ByteImages(new(1, 1, 2), 2, pixels, new byte[Count], new([0], [255]));
        var pipeline = InputPipeline.Of(Augmentation.Parse("flip:alternating"), images.Shape, ((IExampleSource)images).Statistics, seed: 4);
        using var cpu = new CpuDevice(1);
        using var loader = new BatchLoader(images, BatchLoaderOptions.Training(100, 1) with { Bytes = true, Prefetch = 0 });
        var x = F.Input("x", DType.U8, [100, 1, 1, 2]);
        using var evaluation = new Evaluation(cpu, [new("y", pipeline.Training(x, F.Literal([2], DType.I64, 0, 0), DType.F32))]);
        var flipped = new bool[3, Count];
        for (var epoch = 0; epoch < 3; epoch++)
        {
            for (var b = 0; b < Count / 100; b++)
            {
                var batch = loader.Take();
                pipeline.WriteTraining(evaluation.Executable, "x", batch);
                evaluation.Run();
                var y = evaluation.Get("y");
                for (var row = 0; row < 100; row++) flipped[epoch, batch.Indices[row]] = y[2 * row] > y[2 * row + 1];
            }
        }

        Assert.All(Enumerable.Range(0, Count), i => Assert.True(flipped[0, i] != flipped[1, i] && flipped[0, i] == flipped[2, i]));
        // Half of them, within five standard deviations.
        Assert.InRange(Enumerable.Range(0, Count).Count(i => flipped[0, i]), 1000 - 112, 1000 + 112);
    }

    [Fact]
    public void The_pipeline_is_one_launch()
    {
        using var cpu = new CpuDevice(1);
        var pipeline = InputPipeline.Of(Augmentation.Parse("crop:2,flip,cutout:3,jitter:0.4:0.4:0.4"), Shape, Statistics());
        var generator = F.Input("generator", DType.I64, [2]);
        var y = pipeline.Training(F.Input("x", DType.U8, [6, 3, 8, 8]), generator, DType.F32);
        var plan = Planner.Plan(new TensorProgram("input", [new("y", y)]), cpu.Target);
        Assert.Single(plan.Launches, l => l.Node.Op is AugmentOp);
        Assert.All(plan.Launches, l => Assert.True(l.Node.Op is AugmentOp or LiteralOp));
    }

    // Each view's logits come from the program that evaluates it alone; the average is taken in f64 here, and f32's roundings are of 1e-7.
    [Theory]
    [InlineData("flip", true)]
    [InlineData("crops:3", false)]
    [InlineData("flip,crops:9:2", true)]
    public void Averaged_views_are_the_mean_of_their_probabilities(string text, bool bytes)
    {
        var averaging = TestTimeAveraging.Parse(text);
        var pipeline = bytes ? InputPipeline.Of(Augmentation.Parse("flip"), Shape, Statistics()) : InputPipeline.None;
        var variables = new ModelVariables(CifarResNet.Create(8, 3, 5));
        using var cpu = new CpuDevice(2);
        using var store = cpu.CreateStore();
        variables.Initialize(store, 1);
        var random = new Random(2);
        byte[] pixels = [.. Enumerable.Range(0, 4 * Shape.Length).Select(_ => (byte)random.Next(256))];
        float[] floats = [.. pixels.Select(p => p / 64f - 2)];

        var averages = Logits(pipeline, averaging);
        var expected = new double[20];
        foreach (var view in averaging.Views)
        {
            // By hand: the view is made of the input's numbers, and evaluated without any.
            var moved = Move(bytes ? [.. pixels.Select(p => (double)p)] : [.. floats.Select(p => (double)p)], view);
            var logits = Logits(pipeline, TestTimeAveraging.None, moved);
            foreach (var (row, n) in logits.Chunk(5).Select((r, n) => (r, n)))
            {
                var total = row.Sum(l => Math.Exp(l));
                for (var k = 0; k < 5; k++) expected[5 * n + k] += Math.Exp(row[k]) / total / averaging.Views.Count;
            }
        }

        for (var i = 0; i < 20; i++) Assert.Equal(expected[i], Math.Exp(averages[i]), 1e-6);

        double[] Logits(InputPipeline input, TestTimeAveraging views, double[]? values = null)
        {
            var step = new EvalStep(variables, [4, 3, 8, 8], Losses.CrossEntropy, new StepOptions { Pipeline = input, Averaging = views });
            using var executable = cpu.Load(Planner.Plan(step.Program, cpu.Target), store);
            if (input.ReadsBytes) executable.Write<byte>(EvalStep.Input, values is null ? pixels : [.. values.Select(v => (byte)v)]);
            else executable.Write<float>(EvalStep.Input, values is null ? floats : [.. values.Select(v => (float)v)]);
            executable.Write<int>(EvalStep.Target, [0, 1, 2, 3]);
            executable.Run();
            var logits = new float[20];
            executable.Read<float>(EvalStep.Logits, logits);
            return [.. logits.Select(l => (double)l)];
        }
    }

    [Fact]
    public void Eval_averages_and_says_both()
    {
        using var folder = new TemporaryFolder();
        var config = TrainingSetup.Complete(new RunConfig
        {
            Data = "synthetic:3x8x8:4:64",
            Model = "mlp",
            Depth = 2,
            Width = 16,
            Epochs = 1,
            BatchSize = 16,
            Threads = 2,
            Augment = "flip",
            Tta = "flip,crops:2",
        });
        var result = TinyJob.Run(config, folder["run"]);
        Assert.NotNull(result.Averaged);
        Assert.NotEqual(result.Test.Loss, result.Averaged.Value.Loss);
        Assert.Equal(result.PredictedBytes, result.AllocatedBytes.Values.Sum());
        using var device = new CpuDevice(2);
        Assert.Equal(result.Averaged, EvaluationJob.Run(config, device, folder["run"], null, "test", _ => { }));
        Assert.Equal(result.Test, EvaluationJob.Run(config with { Tta = "none" }, device, folder["run"], null, "test", _ => { }));
    }

    private static double[] Move(double[] images, View view)
    {
        var moved = new double[images.Length];
        for (var i = 0; i < images.Length; i++)
        {
            var (plane, row, column) = (i / 64, i / 8 % 8, i % 8);
            if (view.Flip) column = 7 - column;
            moved[i] = images[plane * 64 + Mirror(row + view.Down) * 8 + Mirror(column + view.Right)];
        }

        return moved;

        static int Mirror(int at) => at < 0 ? -at : at > 7 ? 14 - at : at;
    }

    private static double[] Values(IDevice device, Tensor y)
    {
        using var evaluation = new Evaluation(device, [new("y", y)]);
        evaluation.Set("x", [.. Enumerable.Range(0, 6 * Shape.Length).Select(i => (double)(i * 7 % 256))]);
        evaluation.Run();
        return evaluation.Get("y");
    }

    private static ChannelStatistics Statistics() => new([120, 110, 100], [60, 50, 70]);

    /// <summary>A data set of bytes.</summary>
    private static Dataset Bytes()
    {
        var random = new Random(1);
        var pixels = new byte[8 * Shape.Length];
        random.NextBytes(pixels);
        var images = new ByteImages(Shape, 2, pixels, [0, 1, 0, 1, 0, 1, 0, 1], Statistics());
        return new Dataset("bytes", ["a", "b"], images, null, images);
    }

    private sealed class StopAfter(int steps) : ITrainingObserver
    {
        private int _done;

        public void Note(string sentence)
        {
        }

        public void Step(TrainingProgress progress)
        {
            if (++_done == steps) throw new OperationCanceledException();
        }

        public void Epoch(EpochMetrics metrics)
        {
        }
    }
}
