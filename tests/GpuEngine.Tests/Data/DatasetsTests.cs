using GpuEngine.Core;
using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

public class DatasetsTests
{
    [Theory]
    [InlineData("mnst", "mnist")]
    [InlineData("cifar-10", "cifar10")]
    [InlineData("shape-set", "shapeset")]
    [InlineData("Spiral", "spiral")]
    public void An_unknown_name_gets_the_nearest(string given, string nearest)
    {
        var message = Fails(() => Datasets.Open(given));
        Assert.Contains($"Did you mean '{nearest}'?", message);
        Assert.Contains("synthetic:CxHxW:classes", message);
    }

    [Theory]
    [InlineData("shapeset", "1x32x32", 9)]
    [InlineData("shapeset-hard", "1x32x32", 9)]
    [InlineData("synthetic:3x8x5:7", "3x8x5", 7)]
    [InlineData("circle", "2x1x1", 2)]
    [InlineData("xor", "2x1x1", 2)]
    [InlineData("gaussian", "2x1x1", 2)]
    [InlineData("spiral", "2x1x1", 2)]
    public void Generated_sets_open_by_name(string name, string shape, int classes)
    {
        var data = Datasets.Open(name);
        Assert.Equal(name, data.Name);
        Assert.Equal(shape, data.Shape.ToString());
        Assert.Equal(classes, data.Classes.Count);
        Assert.Null(data.Validation);
        foreach (var source in new[] { data.Train, data.Test })
        {
            var (input, label) = Example.Read(source, source.Count - 1);
            Assert.InRange(label, 0, classes - 1);
            Assert.All(input, x => Assert.True(float.IsFinite(x)));
        }
    }

    [Theory]
    [InlineData("synthetic")]
    [InlineData("synthetic:3x8:10")]
    [InlineData("synthetic:3x8x8")]
    [InlineData("synthetic:3x0x8:10")]
    [InlineData("synthetic:3x-8x8:10")]
    [InlineData("synthetic:3x8x8:1")]
    [InlineData("synthetic:3x8x8:ten")]
    [InlineData("synthetic:3x8x8:10:0")]
    [InlineData("synthetic:3x8x8:10:5:5")]
    [InlineData("synthetic:9999x9999x9999:10")]
    public void A_malformed_synthetic_name_shows_the_form(string name)
    {
        var message = Fails(() => Datasets.Open(name));
        Assert.Contains($"'{name}'", message);
        Assert.Contains("synthetic:3x32x32:10", message);
    }

    [Fact]
    public void Limit_takes_the_first_and_validation_the_last_training_images()
    {
        using var folder = DataFolder.WithIdx();
        var whole = Datasets.Mnist(folder.Path);
        var part = Datasets.Mnist(folder.Path, new DatasetOptions { Limit = 12, Validation = HoldOut.Count(5) });
        Assert.Equal((12, 5, 7), (part.Train.Count, part.Validation!.Count, part.Test.Count));
        for (var i = 0; i < 12; i++) Example.AssertSame(whole.Train, i, part.Train, i);
        for (var i = 0; i < 5; i++) Example.AssertSame(whole.Train, 25 + i, part.Validation, i);
        Assert.Throws<ArgumentOutOfRangeException>(() => Example.Read(part.Train, 12));

        part = Datasets.Mnist(folder.Path, new DatasetOptions { Limit = 1000, Validation = HoldOut.Fraction(0.1) });
        Assert.Equal((27, 3), (part.Train.Count, part.Validation!.Count));
    }

    [Fact]
    public void Limit_and_validation_size_an_endless_set()
    {
        var data = Datasets.Shapeset(new DatasetOptions { Limit = 200, Validation = HoldOut.Fraction(0.25), Seed = 3 });
        Assert.Equal((200, 50, 200), (data.Train.Count, data.Validation!.Count, data.Test.Count));
        Assert.True(data.Train.IsEndless);
        Assert.False(data.Validation.IsEndless);
        Assert.NotEqual(Example.Read(data.Train, 0).Input, Example.Read(data.Train, 200).Input);
        Assert.Throws<ArgumentOutOfRangeException>(() => Example.Read(data.Test, 200));
    }

    [Fact]
    public void Impossible_limits_and_splits_are_told()
    {
        using var folder = DataFolder.WithIdx();
        Assert.Contains("limit of 0", Fails(() => Datasets.Mnist(folder.Path, new DatasetOptions { Limit = 0 })));
        Assert.Contains("limit of -3", Fails(() => Datasets.Shapeset(new DatasetOptions { Limit = -3 })));
        Assert.Contains(
            "takes 30 of the 30",
            Fails(() => Datasets.Mnist(folder.Path, new DatasetOptions { Validation = HoldOut.Count(30) })));
        Assert.Contains(
            "leaves no example",
            Fails(() => Datasets.Mnist(folder.Path, new DatasetOptions { Validation = HoldOut.Fraction(0.001) })));
        Assert.Contains("split of -1", Fails(() => HoldOut.Count(-1)));
        Assert.Contains("split of 1 ", Fails(() => HoldOut.Fraction(1)));
        Assert.Contains("split of NaN ", Fails(() => HoldOut.Fraction(double.NaN)));
        Assert.Contains("noise of -1", Fails(() => Datasets.Open("xor", new DatasetOptions { Noise = -1 })));
    }

    [Fact]
    public void Float_examples_are_checked()
    {
        var shape = new ExampleShape(2, 1, 1);
        var message = Fails(() => new FloatExamples(shape, 2, [0, 1, 2, float.NaN], [0, 1]));
        Assert.Contains("Input 1 of example 1 is NaN", message);
        Assert.Contains(
            "Input 0 of example 1",
            Fails(() => new FloatExamples(shape, 2, [0, 1, float.NegativeInfinity, 3], [0, 1])));
        Assert.Contains("Label 2 of example 1", Fails(() => new FloatExamples(shape, 2, [0, 1, 2, 3], [0, 2])));
        Assert.Contains("3 were given", Fails(() => new FloatExamples(shape, 2, [0, 1, 2], [0, 1])));

        // Their sum is infinite, they are not.
        var large = new FloatExamples(shape, 2, [float.MaxValue, float.MaxValue, 2, 3], [0, 1]);
        Assert.Equal(float.MaxValue, Example.Read(large, 0).Input[1]);
    }

    [Fact]
    public void Splits_must_agree_in_shape_and_classes()
    {
        var two = new FloatExamples(new ExampleShape(2, 1, 1), 2, [0, 1], [0]);
        var three = new FloatExamples(new ExampleShape(3, 1, 1), 2, [0, 1, 2], [0]);
        Assert.Contains("2x1x1", Fails(() => new Dataset("odd", ["a", "b"], two, null, three)));
        Assert.Contains("3 class names", Fails(() => new Dataset("odd", ["a", "b", "c"], two, null, two)));
    }

    private static string Fails(Func<object?> action) => Assert.Throws<UserException>(action).Message;
}
