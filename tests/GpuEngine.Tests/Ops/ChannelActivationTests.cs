using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>prelu, srelu, maxout, glu: small numbers by hand, properties, workers, misuse.</summary>
public class ChannelActivationTests
{
    // torch: F.prelu(x, w).sum().backward() with these numbers.
    [Fact]
    public void Prelu_takes_the_slope_of_its_channel()
    {
        var run = new OpRun("prelu", DType.F64, new()
        {
            ["input"] = ([2, 2, 2], [-1, 2, -3, 4, 0, -6, 7, -8]),
            ["weight"] = ([2], [0.25, 0.5]),
        });
        Assert.Equal([-0.25, 2, -1.5, 4, 0, -1.5, 7, -4], run.Output);
        Assert.Equal([0.25, 1, 0.5, 1, 0.25, 0.25, 1, 0.5], run["grad_input"]);
        Assert.Equal([-7, -11], run["grad_weight"]);
    }

    [Fact]
    public void Srelu_follows_its_three_pieces()
    {
        var run = new OpRun("srelu", DType.F64, Srelu([1, 1, 5], [-3, -1, 0, 2, 4], [2], [0.5], [-1], [0.25]));
        Assert.Equal([-1.5, -1, 0, 2, 3], run.Output);
        Assert.Equal([0.25, 0.25, 1, 0.5, 0.5], run["grad_input"]);
        Assert.Equal([2 * 0.5], run["grad_t_r"]);
        Assert.Equal([2.0], run["grad_a_r"]);
        Assert.Equal([2 * 0.75], run["grad_t_l"]);
        Assert.Equal([-2.0], run["grad_a_l"]);
    }

    [Fact]
    public void Srelu_with_slopes_of_one_is_the_identity()
    {
        double[] x = [.. Enumerable.Range(0, 33).Select(i => i * 0.25 - 4)];
        Assert.Equal(x, new OpRun("srelu", DType.F64, Srelu([33], x, [1], [1], [-1], [1])).Output);
    }

    [Fact]
    public void Maxout_takes_the_first_maximum_of_neighbouring_channels()
    {
        var run = new OpRun("maxout", DType.F32, new() { ["input"] = ([1, 6], [1, 3, 5, 5, double.NaN, 9]) }, new() { ["num_pieces"] = 2 });
        Assert.Equal([3, 5, double.NaN], run.Output);
        Assert.Equal([0, 1, 1, 0, 1, 0], run["grad_input"]);
        var planes = new OpRun("maxout", DType.F32, new() { ["input"] = ([1, 4, 2], [1, 2, 3, 1, 9, 8, 7, 8]) }, new() { ["num_pieces"] = 2 });
        Assert.Equal([3, 2, 9, 8], planes.Output);
        Assert.Equal([0, 1, 1, 0, 1, 1, 0, 0], planes["grad_input"]);
    }

    // Shapes that take each walk of the kernels: by row, by plane, one weight; several items, tails.
    [Theory]
    [InlineData("prelu", 1, 33, 700, 37)]
    [InlineData("prelu", 1, 37, 9001, 1)]
    [InlineData("prelu", 1, 1, 30_011, 1)]
    [InlineData("srelu", 1, 33, 700, 37)]
    [InlineData("srelu", 1, 5, 3, 9001)]
    [InlineData("maxout", 3, 15, 2001, 1)]
    [InlineData("maxout", 3, 15, 7, 301)]
    public void Any_number_of_workers_gives_the_same_bits(string op, int pieces, int channels, int rows, int inner)
    {
        double[] Values(int n, double phase) => [.. Enumerable.Range(0, n).Select(i => Math.Sin(i * 1.7 + phase))];
        var inputs = new Dictionary<string, (Shape, double[])> { ["input"] = ([rows, channels, inner], Values(rows * channels * inner, 0)) };
        string[] parameters = op switch { "prelu" => ["weight"], "srelu" => ["t_r", "a_r", "t_l", "a_l"], _ => [] };
        foreach (var name in parameters) inputs[name] = ([channels], Values(channels, name.Length));
        var attributes = op == "maxout" ? new Dictionary<string, object?> { ["num_pieces"] = pieces } : null;
        var (one, three) = (new OpRun(op, DType.F32, inputs, attributes), new OpRun(op, DType.F32, inputs, attributes, 3));
        Assert.Equal(one.Output, three.Output);
        foreach (var name in parameters.Prepend("input")) Assert.Equal(one["grad_" + name], three["grad_" + name]);
    }

    [Fact]
    public void Misfits_are_named()
    {
        Tensor Of(params int[] shape) => F.Input("x", DType.F32, new Shape(shape));
        Assert.Equal(
            "prelu: an input of shape [2, 3, 4] has 3 channels and needs a weight of shape [1] or [3], but got [4].",
            Assert.Throws<ShapeException>(() => F.PRelu(Of(2, 3, 4), Of(4))).Message);
        Assert.StartsWith(
            "srelu: an input f32[2, 3] has 3 channels and needs t_r, a_r, t_l and a_l of type f32[3], but got f32[3], f32[2]",
            Assert.Throws<ShapeException>(() => F.SRelu(Of(2, 3), Of(3), Of(2), Of(3), Of(3))).Message, StringComparison.Ordinal);
        Assert.Equal(
            "maxout: the 5 channels of [2, 5] (axis 1) do not divide into groups of num_pieces = 2.",
            Assert.Throws<ShapeException>(() => F.Maxout(Of(2, 5), 2)).Message);
        Assert.Equal("glu: axis 1 of [2, 5] must have an even extent to be halved.", Assert.Throws<ShapeException>(() => F.Glu(Of(2, 5))).Message);
    }

    private static Dictionary<string, (Shape Shape, double[] Values)> Srelu(Shape shape, double[] x, double[] tR, double[] aR, double[] tL, double[] aL) => new()
    {
        ["input"] = (shape, x),
        ["t_r"] = ([tR.Length], tR),
        ["a_r"] = ([aR.Length], aR),
        ["t_l"] = ([tL.Length], tL),
        ["a_l"] = ([aL.Length], aL),
    };
}
