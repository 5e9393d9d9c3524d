using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Tests.Ops;
using Xunit;

namespace GpuEngine.Tests.Images;

/// <summary>The catalog's ops by hand-made examples and golden numbers, and what they refuse.</summary>
public class AugmentOpTests
{
    private static readonly double[] Grid = [1, 2, 3, 4, 5, 6];

    [Fact]
    public void A_flip_is_torchs_fliplr() => Assert.Equal([3, 2, 1, 6, 5, 4], Image("random_horizontal_flip", new() { ["p"] = 1 }));

    [Fact]
    public void Zero_padding_is_the_fill_and_reflection_skips_the_edge()
    {
        // Of 2x3 padded by 1, a window of 4x5 has one place: the whole. numpy.pad(x, 1) and numpy.pad(x, 1, "reflect").
        var attributes = new Dictionary<string, object?> { ["padding"] = 1, ["size"] = new[] { 4, 5 } };
        Assert.Equal([0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0, 0], Image("random_crop", attributes));
        Assert.Equal([9, 9, 9, 9, 9, 9, 1, 2, 3, 9, 9, 4, 5, 6, 9, 9, 9, 9, 9, 9], Image("random_crop", new(attributes) { ["fill"] = 9, ["padding_mode"] = "constant" }));
        Assert.Equal([5, 4, 5, 6, 5, 2, 1, 2, 3, 2, 5, 4, 5, 6, 5, 2, 1, 2, 3, 2], Image("random_crop", new(attributes) { ["padding_mode"] = "reflect" }));
        // [left, top, right, bottom], torchvision's order.
        Assert.Equal([1, 2, 3, 0, 0, 4, 5, 6, 0, 0], Image("random_crop", new() { ["padding"] = new[] { 0, 0, 2, 0 }, ["size"] = new[] { 2, 5 } }));
    }

    [Fact]
    public void A_whole_window_resized_is_torchs_interpolate()
    {
        // torch.nn.functional.interpolate(torch.arange(1., 7).reshape(1, 1, 2, 3), (3, 4), mode="bilinear", align_corners=False)
        double[] expected = [1, 1.625, 2.375, 3, 2.5, 3.125, 3.875, 4.5, 4, 4.625, 5.375, 6];
        var y = Image("random_resized_crop", new() { ["size"] = new[] { 3, 4 }, ["scale"] = new[] { 1.0, 1 }, ["ratio"] = new[] { 1.5, 1.5 } });
        Assert.Equal(expected.Length, y.Length);
        for (var i = 0; i < y.Length; i++) Assert.Equal(expected[i], y[i], 1e-6);
    }

    // torchvision 0.14's adjust_brightness(x, 1.5), adjust_contrast(x, 0.5), adjust_saturation(x, 2) and adjust_hue(x, 0.25) by its formulas
    // in PyTorch 1.13 on x = [[0.1, 0.9], [0.4, 0.2], [0.7, 0.5]] (red, green, blue of two pixels); 6e-7 is a few roundings of f32.
    [Theory]
    [InlineData("brightness", 1.5, new[] { 0.15, 1, 0.6, 0.3, 1, 0.75 })]
    [InlineData("contrast", 0.5, new[] { 0.246975, 0.646975, 0.396975, 0.296975, 0.546975, 0.446975 })]
    [InlineData("saturation", 2, new[] { 0, 1, 0.45551, 0, 1, 0.55659 })]
    [InlineData("hue", 0.25, new[] { 0.7, 0.85, 0.1, 0.9, 0.7, 0.2 })]
    public void Colours_are_torchvisions(string adjustment, double factor, double[] expected)
    {
        Dictionary<string, (Shape, double[])> inputs = new() { ["input"] = ([1, 3, 1, 2], [0.1, 0.9, 0.4, 0.2, 0.7, 0.5]) };
        var y = new OpRun("color_jitter", DType.F32, inputs, new() { [adjustment] = new[] { factor, factor } }).Output;
        for (var i = 0; i < 6; i++) Assert.Equal(expected[i], y[i], 6e-7);
    }

    [Fact]
    public void Normalize_is_torchvisions()
    {
        var y = Image("normalize", new() { ["mean"] = new[] { 2.0 }, ["std"] = new[] { 4.0 } });
        Assert.Equal([-0.25, 0, 0.25, 0.5, 0.75, 1], y);
    }

    [Fact]
    public void An_image_without_a_batch_axis_keeps_its_rank()
    {
        var x = F.Input("x", DType.F32, [1, 2, 3]);
        var y = OpCatalog.Call(OpCatalog.Find("random_horizontal_flip"), new Dictionary<string, Tensor> { ["input"] = x }, new Dictionary<string, System.Text.Json.Nodes.JsonNode?>())[0].Tensor;
        Assert.Equal(new Shape(1, 2, 3), y.Shape);
    }

    [Fact]
    public void The_generator_may_be_a_tensor()
    {
        using var cpu = new CpuDevice(1);
        var spec = OpCatalog.Find("random_crop");
        var x = F.Input("input", DType.F32, [8, 1, 4, 4]);
        System.Text.Json.Nodes.JsonNode padding = 2.0;
        var given = OpCatalog.Call(
            spec, new Dictionary<string, Tensor> { ["input"] = x, ["generator"] = F.Literal([2], DType.I64, 7, 9) },
            new Dictionary<string, System.Text.Json.Nodes.JsonNode?> { ["padding"] = padding })[0].Tensor;
        System.Text.Json.Nodes.JsonNode seed = 7.0, offset = 9.0, same = 2.0;
        var named = OpCatalog.Call(
            spec, new Dictionary<string, Tensor> { ["input"] = x },
            new Dictionary<string, System.Text.Json.Nodes.JsonNode?> { ["padding"] = same, ["seed"] = seed, ["offset"] = offset })[0].Tensor;
        using var evaluation = new Evaluation(cpu, [new("given", given), new("named", named)]);
        evaluation.Set("input", [.. Enumerable.Range(0, 128).Select(i => (double)i)]);
        evaluation.Run();
        Assert.Equal(evaluation.Get("named"), evaluation.Get("given"));
    }

    [Theory]
    [InlineData("random_horizontal_flip", "p", 1.5, "between 0 and 1")]
    [InlineData("random_crop", "padding", -1, "at least 0")]
    [InlineData("random_crop", "size", 9, "does not fit into an image of 2x3")]
    [InlineData("random_crop", "padding", new[] { 1, 2, 3 }, "one, two or four")]
    [InlineData("random_crop", "padding_mode", "reflekt", "reflect")]
    [InlineData("random_resized_crop", "scale", new[] { 0.0, 1 }, "above 0")]
    [InlineData("random_resized_crop", "scale", new[] { 0.5 }, "two numbers")]
    [InlineData("random_resized_crop", "ratio", new[] { 2.0, 1 }, "increasing")]
    [InlineData("random_resized_crop", "size", 0, "at least 1")]
    [InlineData("color_jitter", "brightness", -0.1, "negative")]
    [InlineData("color_jitter", "contrast", new[] { 2.0, 1 }, "increasing")]
    [InlineData("color_jitter", "hue", 0.6, "[-0.5, 0.5]")]
    [InlineData("cutout", "size", 0, "at least 1")]
    [InlineData("augment", "p", -0.5, "between 0 and 1")]
    public void What_is_wrong_is_said(string op, string attribute, object value, string expected)
    {
        var e = Assert.Throws<UserException>(() => Image(op, new() { [attribute] = value }));
        Assert.Contains(expected, e.Message);
    }

    [Fact]
    public void What_does_not_fit_the_images_is_said()
    {
        Dictionary<string, object?> reflect = new() { ["padding"] = 2, ["padding_mode"] = "reflect" };
        Assert.Contains("larger than the padding", Assert.Throws<UserException>(() => Image("random_crop", reflect)).Message);
        Assert.Contains("1 or 3 channels", Assert.Throws<UserException>(() => Image("color_jitter", new() { ["contrast"] = 0.5 }, [1, 2, 1, 3])).Message);
        Assert.Contains("each of 1 channels", Assert.Throws<UserException>(() => Image("normalize", new() { ["mean"] = new[] { 1, 2 }, ["std"] = 1 })).Message);
        Assert.Contains("must not contain 0", Assert.Throws<UserException>(() => Image("normalize", new() { ["mean"] = 0, ["std"] = 0 })).Message);
        Assert.Contains("'mean'", Assert.Throws<UserException>(() => Image("normalize", new() { ["std"] = 1 })).Message);
        Assert.Contains("exclude each other", Assert.Throws<UserException>(() => Image("augment", new() { ["crop"] = true, ["resized_crop"] = true })).Message);
        Assert.Throws<ShapeException>(() => Image("cutout", [], [6]));
    }

    private static double[] Image(string op, Dictionary<string, object?> attributes, Shape? shape = null) =>
        new OpRun(op, DType.F32, new() { ["input"] = (shape ?? [1, 1, 2, 3], Grid) }, attributes).Output;
}
