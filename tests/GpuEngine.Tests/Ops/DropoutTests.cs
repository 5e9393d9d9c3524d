using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>Dropout's mask, scale and statistics; embedding's padding row.</summary>
public class DropoutTests
{
    // 1, a tail, several tiles with a tail, and enough for several workers.
    [Theory]
    [InlineData(1, DType.F32)]
    [InlineData(37, DType.F64)]
    [InlineData(5003, DType.F32)]
    [InlineData(20_001, DType.F64)]
    public void The_mask_is_the_generators_and_the_same_in_the_backward_pass(int n, DType dtype)
    {
        var attributes = new Dictionary<string, object?> { ["p"] = 0.3, ["seed"] = 11, ["offset"] = 5, ["stream"] = 2 };
        var uniform = new float[n];
        Philox.FillUniform(uniform, 11, 2, 5);
        var scale = dtype == DType.F32 ? (float)(1 / 0.7) : 1 / 0.7;
        double[] x = [.. Enumerable.Range(0, n).Select(i => 1.0 + i % 2)];
        for (var threads = 1; threads <= 3; threads += 2)
        {
            var run = new OpRun("dropout", dtype, OpRun.Vector(x), attributes, threads);
            for (var i = 0; i < n; i++)
            {
                var kept = uniform[i] >= 0.3;
                Assert.Equal(kept ? x[i] * scale : 0, run.Output[i]);
                Assert.Equal(kept ? scale : 0, run["grad_input"][i]);
            }
        }
    }

    // The count of kept elements is binomial; 5 standard deviations, and the numbers are always the same ones.
    [Theory]
    [InlineData("p", 0.1, 0.9)]
    [InlineData("p", 0.5, 0.5)]
    [InlineData("keep_prob", 0.8, 0.8)]
    public void The_mean_is_kept(string attribute, double value, double keep)
    {
        const int Count = 100_000;
        var x = new double[Count];
        Array.Fill(x, 1);
        var y = new OpRun("dropout", DType.F32, OpRun.Vector(x), new() { [attribute] = value }).Output;
        var kept = y.Count(v => v != 0);
        Assert.Equal(keep, (double)kept / Count, 5 * Math.Sqrt(keep * (1 - keep) / Count));
        Assert.All(y, v => Assert.True(v == 0 || v == (float)(1 / keep) || Math.Abs(v - 1 / keep) < 1e-6));
    }

    [Fact]
    public void Nothing_all_or_no_training()
    {
        double[] x = [1, -2, double.PositiveInfinity];
        Assert.Equal(x, new OpRun("dropout", DType.F32, OpRun.Vector(x), new() { ["p"] = 0 }).Output);
        Assert.Equal(x, new OpRun("dropout", DType.F32, OpRun.Vector(x), new() { ["training"] = false }).Output);
        var all = new OpRun("dropout", DType.F32, OpRun.Vector(x), new() { ["p"] = 1 });
        Assert.Equal([0, 0, 0], all.Output);
        Assert.Equal([0, 0, 0], all["grad_input"]);
    }

    [Fact]
    public void A_new_offset_in_device_memory_draws_a_new_mask()
    {
        var x = F.Input("x", DType.F32, [1000]);
        var state = F.Input("state", DType.I64, [2]);
        using var device = new CpuDevice(1);
        using var run = new Evaluation(device, [new("y", F.Dropout(x, 0.5, true, state, 0))]);
        run.Set("x", [.. Enumerable.Repeat(1.0, 1000)]);
        double[] At(double offset)
        {
            run.Set("state", [1, offset]);
            run.Run();
            return run.Get("y");
        }

        var first = At(0);
        Assert.NotEqual(first, At(1));
        Assert.Equal(first, At(0));
    }

    [Fact]
    public void Misfits_are_named()
    {
        var x = F.Input("x", DType.F32, [3]);
        Assert.Equal(
            "dropout: the drop probability p must lie between 0 and 1, but is 1.5.",
            Assert.Throws<UserException>(() => F.Dropout(x, 1.5, true, F.Literal([2], DType.I64, 1, 2), 0)).Message);
        Assert.Contains("the generator's state i64[2]", Assert.Throws<ShapeException>(() => F.Dropout(x, 0.5, true, x, 0)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_padding_row_of_an_embedding_is_read_but_gets_no_gradient()
    {
        Dictionary<string, (Shape, double[])> inputs = new() { ["index"] = ([2, 2], [1, 0, 1, 2]), ["weight"] = ([3, 2], [1, 2, 3, 4, 5, 6]) };
        var index = F.Input("index", DType.I64, [2, 2]);
        var weight = F.Input("weight", DType.F64, [3, 2]);
        var y = F.Embedding(index, weight, -2);
        var gradient = Autodiff.Gradients(F.Sum(y), [weight])[0];
        using var device = new CpuDevice(1);
        using var run = new Evaluation(device, [new("y", y), new("dw", gradient)]);
        foreach (var (name, value) in inputs) run.Set(name, value.Item2);
        run.Run();
        Assert.Equal([3, 4, 1, 2, 3, 4, 5, 6], run.Get("y"));
        Assert.Equal([1, 1, 0, 0, 1, 1], run.Get("dw"));
        Assert.Equal(
            "embedding: padding_idx 3 is outside the 3 rows of the weight [3, 2].",
            Assert.Throws<ShapeException>(() => F.Embedding(index, weight, 3)).Message);
    }
}
