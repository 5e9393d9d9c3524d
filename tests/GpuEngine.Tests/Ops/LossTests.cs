using GpuEngine.Core;
using GpuEngine.Core.Graph;
using Xunit;

namespace GpuEngine.Tests.Ops;

/// <summary>Losses against numbers of PyTorch 1.13 in double, at their edges, over workers, and their error sentences.</summary>
public class LossTests
{
    private static readonly double[] Logits = [1, 2, 3, 0.5, -1, 2, -2, 0, 4, 100, -100, 0];
    private static readonly double[] Targets = [2, 0, 1, 1];
    private static readonly double[] Weights = [0.5, 1, 2];

    // x = torch.tensor(Logits).reshape(4, 3); F.cross_entropy(x, t, ...): the value(s), and the gradient's first six entries.
    public static TheoryData<bool, string, int, double, double[], double[]> Golden() => new()
    {
        { false, "mean", -100, 0, [51.54237460001222], [0.02250764329259511, 0.06118211776369941, -0.08368976105629455, -0.20617740196499082, 0.009778143317671862, 0.19639925864731897] },
        { true, "mean", -100, 0, [45.71254415914771], [0.04001358807572464, 0.10876820935768783, -0.14878179743341252, -0.09163440087332925, 0.004345841474520828, 0.08728855939880843] },
        { false, "mean", 1, 0, [1.0744586305507688], [0.04501528658519022, 0.12236423552739882, -0.1673795221125891, -0.41235480392998164, 0.019556286635343725, 0.39279851729463794] },
        { true, "mean", 0, 0, [51.20894826695903], [0.04501528658519022, 0.12236423552739882, -0.1673795221125891, 0, 0, 0] },
        { false, "mean", -100, 0.1, [49.05070793334555], [0.014174309959261775, 0.05284878443036608, -0.06702309438962789, -0.18951073529832416, 0.0014448099843385291, 0.18806592531398564] },
        { true, "mean", 2, 0.2, [76.54297239925137], [0, 0, 0, -0.12892643399119072, -0.016758148104759178, 0.14568458209594992] },
        { true, "sum", -100, 0, [205.7064487161647], [0.18006114634076087, 0.4894569421095953, -0.6695180884503564, -0.41235480392998164, 0.019556286635343725, 0.39279851729463794] },
        { false, "none", -100, 0.3, [0.7076059644443804, 1.741311296657157, 3.820581138947329, 170], [-0.009969426829619567, 0.14472847105479764, -0.13475904422517823, -0.6247096078599632, -0.06088742672931255, 0.6855970345892758] },
    };

    // A few roundings of sums of a dozen terms; the same numbers hold with the classes second (inner axis of 1) or strided.
    [Theory]
    [MemberData(nameof(Golden))]
    public void Cross_entropy_agrees_with_torch(bool weighted, string reduction, int ignoreIndex, double smoothing, double[] loss, double[] gradient)
    {
        var attributes = new Dictionary<string, object?> { ["reduction"] = reduction, ["ignore_index"] = ignoreIndex, ["label_smoothing"] = smoothing };
        var rows = new OpRun("cross_entropy", DType.F64, Inputs([4, 3], Logits, [4], Targets, weighted), attributes);
        Close(loss, rows.Output, 1e-14);
        Close(gradient, rows["grad_input"][..6], 1e-14);

        double[] turned = [.. Enumerable.Range(0, 12).Select(i => Logits[i % 4 * 3 + i / 4])];
        var columns = new OpRun("cross_entropy", DType.F64, Inputs([1, 3, 4], turned, [1, 4], Targets, weighted), attributes);
        Close(loss, columns.Output, 1e-14);
        Close(rows["grad_input"], [.. Enumerable.Range(0, 12).Select(i => columns["grad_input"][i % 3 * 4 + i / 3])], 1e-15);
    }

    [Fact]
    public void Ignored_targets_have_zero_gradients_and_the_mean_over_none_is_nan()
    {
        var run = new OpRun("cross_entropy", DType.F32, Inputs([2, 3], Logits[..6], [2], [-100, -100], true), new() { ["label_smoothing"] = 0.1 });
        Assert.Equal([double.NaN], run.Output);
        Assert.All(run["grad_input"], g => Assert.Equal(0, g));
        Assert.Equal([double.NaN], new OpRun("cross_entropy", DType.F32, Inputs([0, 3], [], [0], [], false)).Output);
    }

    [Fact]
    public void A_target_that_is_no_class_makes_the_loss_nan()
    {
        Assert.Equal([double.NaN], new OpRun("cross_entropy", DType.F32, Inputs([2, 3], Logits[..6], [2], [1, 3], false)).Output);
        var each = new OpRun("cross_entropy", DType.F32, Inputs([2, 3], Logits[..6], [2], [1, -1], false), new() { ["reduction"] = "none" });
        Assert.True(double.IsFinite(each.Output[0]) && double.IsNaN(each.Output[1]));
    }

    [Fact]
    public void Logits_of_minus_infinity_are_classes_that_cannot_be()
    {
        var run = new OpRun("cross_entropy", DType.F64, Inputs([1, 3], [0, double.NegativeInfinity, 0], [1], [2], false));
        Assert.Equal([Math.Log(2)], run.Output);
        Assert.Equal([0.5, 0, -0.5], run["grad_input"]);
    }

    // Class counts around a register and above a block of sums, lines in rows and in columns.
    [Theory]
    [InlineData(2000, 10, 1)]
    [InlineData(700, 33, 1)]
    [InlineData(9, 5003, 1)]
    [InlineData(3, 17, 501)]
    public void Any_number_of_workers_gives_the_same_bits(int rows, int classes, int inner)
    {
        double[] x = [.. Enumerable.Range(0, rows * classes * inner).Select(i => 4 * Math.Sin(i * 1.7))];
        double[] t = [.. Enumerable.Range(0, rows * inner).Select(i => (double)(i * 7 % classes))];
        foreach (var op in new[] { "cross_entropy", "log_softmax", "softmax" })
        {
            var inputs = Inputs([rows, classes, inner], x, [rows, inner], t, false);
            var attributes = op == "cross_entropy" ? null : new Dictionary<string, object?> { ["dim"] = 1 };
            if (op != "cross_entropy") inputs.Remove("target");
            var (one, three) = (new OpRun(op, DType.F32, inputs, attributes), new OpRun(op, DType.F32, inputs, attributes, 3));
            Assert.Equal(one.Output, three.Output);
            Assert.Equal(one["grad_input"], three["grad_input"]);
        }
    }

    // 50,000 equal logits: softmax is 1/50,000 and the loss log 50,000, to a few roundings of a float.
    [Fact]
    public void Many_classes_lose_no_accuracy()
    {
        const int Classes = 50_000;
        var x = new double[Classes];
        Assert.All(new OpRun("softmax", DType.F32, OpRun.Vector(x)).Output, p => Assert.Equal(1.0 / Classes, p, 3e-7 / Classes));
        var run = new OpRun("cross_entropy", DType.F32, Inputs([1, Classes], x, [1], [7], false));
        Assert.Equal(Math.Log(Classes), run.Output[0], 1e-6);
    }

    [Fact]
    public void Softmax_of_large_and_of_impossible_logits()
    {
        Assert.Equal([0.5, 0.5, 0], new OpRun("softmax", DType.F32, OpRun.Vector(1e30, 1e30, -1e30)).Output);
        var never = double.NegativeInfinity;
        Assert.All(new OpRun("softmax", DType.F32, OpRun.Vector(never, never)).Output, p => Assert.True(double.IsNaN(p)));
        Assert.Equal([0.0], new OpRun("log_softmax", DType.F32, new() { ["input"] = (Shape.Scalar, [3]) }, new() { ["dim"] = -1 }).Output);
    }

    // torch: F.mse_loss, l1_loss, huber_loss(delta=1), smooth_l1_loss(beta=0.5), reduction="none", on d = x - t.
    [Theory]
    [InlineData("mse_loss", null, 0, new[] { 9.0, 0.25, 0, 1 }, new[] { -6.0, -1, 0, 2 })]
    [InlineData("l1_loss", null, 0, new[] { 3.0, 0.5, 0, 1 }, new[] { -1.0, -1, 0, 1 })]
    [InlineData("huber_loss", "delta", 1, new[] { 2.5, 0.125, 0, 0.5 }, new[] { -1.0, -0.5, 0, 1 })]
    [InlineData("smooth_l1_loss", "beta", 0.5, new[] { 2.75, 0.25, 0, 0.75 }, new[] { -1.0, -1, 0, 1 })]
    [InlineData("smooth_l1_loss", "beta", 0, new[] { 3.0, 0.5, 0, 1 }, new[] { -1.0, -1, 0, 1 })]
    public void Pointwise_losses_have_torchs_values(string op, string? attribute, double value, double[] loss, double[] gradient)
    {
        Dictionary<string, (Shape, double[])> inputs = new() { ["input"] = ([4], [-2, 0.5, 2, 3]), ["target"] = ([4], [1, 1, 2, 2]) };
        foreach (var (reduction, share) in new[] { ("none", 1.0), ("sum", 1.0), ("mean", 0.25) })
        {
            var attributes = new Dictionary<string, object?> { ["reduction"] = reduction };
            if (attribute is not null) attributes[attribute] = value;
            // The runner takes targets for indices, so here the graph is made directly.
            var (x, t) = (F.Input("input", DType.F64, [4]), F.Input("target", DType.F64, [4]));
            var y = OpCatalog.Call(
                OpCatalog.Find(op), new Dictionary<string, Tensor> { ["input"] = x, ["target"] = t }, attributes.ToDictionary(a => a.Key, a => OpCall.ToJson(a.Value)))[0].Tensor;
            var g = Autodiff.VectorJacobian([y], [F.Ones(y.Shape, y.DType)], [x, t]);
            using var device = new Core.Cpu.CpuDevice(1);
            using var run = new Core.Devices.Evaluation(device, [new("y", y), new("gx", g[0]!), new("gt", g[1]!)]);
            run.Set("input", inputs["input"].Item2);
            run.Set("target", inputs["target"].Item2);
            run.Run();
            Close(reduction == "none" ? loss : [loss.Sum() * share], run.Get("y"), 1e-15);
            Close([.. gradient.Select(v => v * share)], run.Get("gx"), 1e-15);
            Close([.. gradient.Select(v => -v * share)], run.Get("gt"), 1e-15);
        }
    }

    [Fact]
    public void Misfits_are_named()
    {
        Tensor Of(DType dtype, params int[] shape) => F.Input("x", dtype, new Shape(shape));
        Assert.Equal(
            "cross_entropy: logits f32[4, 3] need as target either class indices (i64 or i32) of shape [4] or class probabilities f32[4, 3], but got i64[3].",
            Assert.Throws<ShapeException>(() => F.CrossEntropy(Of(DType.F32, 4, 3), Of(DType.I64, 3))).Message);
        Assert.Equal(
            "cross_entropy: logits f32[4, 3] have 3 classes and need a weight f32[3], but got f32[4].",
            Assert.Throws<ShapeException>(() => F.CrossEntropy(Of(DType.F32, 4, 3), Of(DType.I64, 4), Of(DType.F32, 4))).Message);
        Assert.Contains("label_smoothing must lie between 0 and 1, but is 1.5", Assert.Throws<UserException>(
            () => F.CrossEntropy(Of(DType.F32, 4, 3), Of(DType.I64, 4), labelSmoothing: 1.5)).Message, StringComparison.Ordinal);
        Assert.Contains("ignore_index (1) is for class indices", Assert.Throws<UserException>(
            () => F.CrossEntropy(Of(DType.F32, 4, 3), Of(DType.F32, 4, 3), ignoreIndex: 1)).Message, StringComparison.Ordinal);
        Assert.Contains("must hold class indices", Assert.Throws<ShapeException>(
            () => F.NllLoss(Of(DType.F32, 4, 3), Of(DType.F32, 4))).Message, StringComparison.Ordinal);
        Assert.Contains("cannot be broadcast together", Assert.Throws<ShapeException>(
            () => F.MseLoss(Of(DType.F32, 4, 3), Of(DType.F32, 4, 2))).Message, StringComparison.Ordinal);
        Assert.Contains("axis 2 is out of range", Assert.Throws<ShapeException>(() => F.Softmax(Of(DType.F32, 4, 3), 2)).Message, StringComparison.Ordinal);
        Assert.Contains("delta must be positive", Assert.Throws<UserException>(
            () => F.HuberLoss(Of(DType.F32, 4), Of(DType.F32, 4), delta: 0)).Message, StringComparison.Ordinal);
    }

    private static Dictionary<string, (Shape Shape, double[] Values)> Inputs(Shape x, double[] logits, Shape t, double[] targets, bool weighted)
    {
        Dictionary<string, (Shape, double[])> inputs = new() { ["input"] = (x, logits), ["target"] = (t, targets) };
        if (weighted) inputs["weight"] = ([Weights.Length], Weights);
        return inputs;
    }

    private static void Close(double[] expected, double[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++) Assert.Equal(expected[i], actual[i], tolerance * Math.Max(1, Math.Abs(expected[i])));
    }
}
