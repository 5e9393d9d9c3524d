using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Images;

/// <summary>--augment, --tta and --recipe as text.</summary>
public class AugmentationTextTests
{
    [Fact]
    public void Steps_are_read()
    {
        Assert.Equal(Augmentation.None, Augmentation.Parse(null));
        Assert.Equal(Augmentation.None, Augmentation.Parse("none"));
        Assert.Equal(new() { CropPadding = 4, Flip = 0.5 }, Augmentation.Parse("flip,crop:4"));
        Assert.Equal(
            new() { CropPadding = 2, Border = BorderMode.Reflect, Flip = 0.25, Cutout = 8, Jitter = new(new(0.6, 1.4), new(0, 2.5)) },
            Augmentation.Parse("crop:2:reflect,flip:0.25,cutout:8,jitter:0.4:1.5"));
        Assert.Equal(new() { AlternatesFlips = true }, Augmentation.Parse("flip:alternating"));
        Assert.Equal(new() { ResizedCrop = new(0.08, 1) }, Augmentation.Parse("resized-crop"));
        Assert.Equal(new() { ResizedCrop = new(0.5, 0.9), Jitter = new(Hue: new(-0.1, 0.1)) }, Augmentation.Parse("resized-crop:0.5:0.9,jitter:0:0:0:0.1"));
    }

    [Theory]
    [InlineData("", "step")]
    [InlineData("flop", "flip")]
    [InlineData("Crop:4", "crop")]
    [InlineData("crop", "crop:PADDING")]
    [InlineData("crop:4:reflekt", "reflect")]
    [InlineData("crop:4:zeros:1", "crop:PADDING")]
    [InlineData("crop:0", "whole number above 0")]
    [InlineData("crop:x", "'x'")]
    [InlineData("crop:4,resized-crop", "exclude each other")]
    [InlineData("resized-crop:0.5", "resized-crop:LOW:HIGH")]
    [InlineData("resized-crop:0.9:0.5", "more than the largest")]
    [InlineData("resized-crop:0:1", "above 0")]
    [InlineData("flip:2", "between 0 and 1")]
    [InlineData("flip,flip", "twice")]
    [InlineData("none,flip", "none stands alone")]
    [InlineData("jitter", "jitter:BRIGHTNESS")]
    [InlineData("jitter:-1", "from 0")]
    [InlineData("jitter:0:0:0:0.6", "between 0 and 0.5")]
    [InlineData("cutout", "cutout:SIZE")]
    [InlineData("cutout:1.5", "whole number")]
    public void Wrong_steps_are_named(string text, string expected)
    {
        var e = Assert.Throws<UserException>(() => Augmentation.Parse(text));
        Assert.Contains($"--augment '{text}'", e.Message);
        Assert.Contains(expected, e.Message);
        Assert.Throws<UserException>(() => TrainingSetup.Complete(new RunConfig { Augment = text }));
    }

    [Fact]
    public void Steps_that_do_not_fit_the_images_are_refused()
    {
        var steps = Augmentation.Parse("crop:4:reflect");
        Assert.Contains("larger than the padding", Assert.Throws<UserException>(() => InputPipeline.Of(steps, new ExampleShape(1, 4, 4), null)).Message);
        Assert.Contains("1 or 3 channels", Assert.Throws<UserException>(() => InputPipeline.Of(Augmentation.Parse("jitter:0.4"), new ExampleShape(2, 8, 8), null)).Message);
    }

    [Fact]
    public void Views_are_read()
    {
        Assert.Equal([View.Plain], TestTimeAveraging.Parse("none").Views);
        Assert.Equal([View.Plain, new(0, 0, true)], TestTimeAveraging.Parse("flip").Views);
        Assert.Equal([View.Plain, new(-1, -1, false), new(1, 1, false)], TestTimeAveraging.Parse("crops:3").Views);
        Assert.Equal([View.Plain, new(0, 0, true), new(-2, -2, false), new(-2, -2, true)], TestTimeAveraging.Parse("crops:2:2,flip").Views);
        Assert.Equal(9, TestTimeAveraging.Parse("crops:9").Views.Distinct().Count());
    }

    [Theory]
    [InlineData("flops", "flip")]
    [InlineData("flip:1", "crops:COUNT")]
    [InlineData("crops", "crops:COUNT")]
    [InlineData("crops:10", "from 1 to 9")]
    [InlineData("crops:0", "from 1 to 9")]
    [InlineData("crops:3:0", "shift")]
    [InlineData("flip,flip", "twice")]
    [InlineData("flip,none", "none stands alone")]
    public void Wrong_views_are_named(string text, string expected)
    {
        var e = Assert.Throws<UserException>(() => TestTimeAveraging.Parse(text));
        Assert.Contains($"--tta '{text}'", e.Message);
        Assert.Contains(expected, e.Message);
    }

    [Fact]
    public void A_recipe_stands_under_what_is_given()
    {
        var config = RunConfig.FromJson(new JsonObject { ["recipe"] = "resnet-cifar", ["epochs"] = 3, ["model"] = "resnet56" }, "the test");
        Assert.Equal(("resnet56", "cifar10", "sgd", 3), (config.Model, config.Data, config.Optimizer, config.Epochs));
        Assert.Equal((0.1, 0.9, 1e-4, 128), (config.Lr, config.Momentum, config.WeightDecay, config.BatchSize));
        Assert.Equal("crop:4,flip", config.Augment);
        // What came out is a config that gives itself.
        Assert.Equal(config, RunConfig.FromJson(config.ToJson(), "the test"));
        Assert.Equal("none", RunConfig.FromJson(new JsonObject { ["recipe"] = "resnet110", ["augment"] = "none" }, "the test").Augment);
    }

    [Fact]
    public void Another_optimizer_leaves_out_what_belonged_to_the_recipes()
    {
        var config = RunConfig.FromJson(new JsonObject { ["recipe"] = "resnet-cifar", ["optimizer"] = "adamw" }, "the test");
        Assert.Null(config.Momentum);
        Assert.Null(config.Lr);
        Assert.Equal(182, config.Epochs);
        TrainingSetup.BuildOptimizer(TrainingSetup.Complete(config));
    }

    [Fact]
    public void Every_recipe_is_complete()
    {
        foreach (var name in Recipe.Names)
        {
            var config = TrainingSetup.Complete(RunConfig.FromJson(new JsonObject { ["recipe"] = name }, "the test"));
            TrainingSetup.BuildOptimizer(config);
            TrainingSetup.BuildModel(config, new ExampleShape(3, 32, 32), 10);
            LearningRateSchedule.Parse(config.Schedule!, 1000, 10);
        }
    }

    [Fact]
    public void The_rates_of_the_papers_steps()
    {
        var config = RunConfig.FromJson(new JsonObject { ["recipe"] = "resnet110" }, "the test");
        const long PerEpoch = 45_000 / 128, Total = PerEpoch * 182;
        Assert.Equal(63_882, Total);
        var schedule = LearningRateSchedule.Parse(config.Schedule!, Total, PerEpoch);
        // 32k and 48k of 64k, as shares of the run's 63,882.
        (long Step, double Rate)[] expected = [(0, 0.01), (399, 0.01), (400, 0.1), (31_940, 0.1), (31_941, 0.01), (47_911, 0.01), (47_912, 0.001), (Total - 1, 0.001)];
        Assert.All(expected, e => Assert.Equal(e.Rate, schedule.At(0.1, e.Step), 1e-12));
    }

    [Fact]
    public void An_unknown_recipe_is_named()
    {
        var e = Assert.Throws<UserException>(() => RunConfig.FromJson(new JsonObject { ["recipe"] = "resnet-cifer" }, "the test"));
        Assert.Contains("resnet-cifar", e.Message);
    }
}
