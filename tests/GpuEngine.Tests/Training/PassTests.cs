using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.Training;

/// <summary>Every pass leaves what a step computes as it is, within the roundings of its dtype.</summary>
[Collection("device")]
public sealed class PassTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    /// <summary>All models that the issue names, small enough for a test: the CIFAR net with two blocks a stage, ResNet-18 on 32x32 images.</summary>
    public static TheoryData<string> Nets => ["lenet5", "resnet", "resnet18", "mlp"];

    public static TheoryData<string> Names => [.. PassOptions.Names];

    /// <summary>
    /// A folded weight is rounded once more than the norm's result would have been: a unit of the last place (2^-24) per layer, which later layers
    /// amplify no more than their inputs. 1e-5 of the largest logit leaves room for twenty layers.
    /// </summary>
    private const double Tolerance = 1e-5;

    [Theory]
    [MemberData(nameof(Nets))]
    public void Folded_batch_norms_answer_the_same(string net)
    {
        using var cpu = new CpuDevice(2);
        var expected = Logits(cpu, net, PassOptions.Default with { FoldBatchNorms = false }, DType.F32);
        AssertClose(expected, Logits(cpu, net, PassOptions.Default, DType.F32), Tolerance);
        AssertClose(expected, Logits(cpu, net, PassOptions.Default with { FuseActivations = false, FuseBias = false }, DType.F32), Tolerance);
        // bf16 has 8 bits: every layer rounds activations by 2^-9 at most anyway, and weights once more when folded.
        AssertClose(
            Logits(cpu, net, PassOptions.Default with { FoldBatchNorms = false }, DType.BF16), Logits(cpu, net, PassOptions.Default, DType.BF16), 0.06);
    }

    [Theory]
    [InlineData("resnet", DType.F32)]
    [InlineData("resnet", DType.BF16)]
    public void On_a_cuda_device_as_well(string net, DType compute)
    {
        var expected = Logits(under.Shared, net, PassOptions.Default with { FoldBatchNorms = false }, compute);
        AssertClose(expected, Logits(under.Shared, net, PassOptions.Default, compute), compute == DType.F32 ? Tolerance : 0.06);
        under.AssertNothingFound();
    }

    [Fact]
    public void Folding_leaves_no_norm_and_no_work_on_weights_to_the_batch()
    {
        foreach (var last in new[] { false, true })
        {
            var (module, input) = Build("resnet");
            var step = new EvalStep(new ModelVariables(module), input, Losses.CrossEntropy, new StepOptions { ChannelsLast = last });
            Assert.DoesNotContain(step.Program.Nodes, n => n.Op is BatchNormOp);
            Assert.Equal(13, step.Program.Nodes.Count(n => n.Op is Conv2dOp or ConvolutionNhwcOp));
            // Bias, residual and relu are one launch behind each convolution.
            Assert.Equal(6, step.Program.Nodes.Count(n => n.Op is BatchNormApplyOp { Residual: true, Affine: false }));
            Assert.Equal(7, step.Program.Nodes.Count(n => n.Op is BiasActOp));
            Assert.NotNull(step.Preparation);
            Assert.Empty(step.Preparation.Inputs);
            // What is prepared is read, and nothing that depends on variables alone is left.
            Assert.All(step.Preparation.Updates, u => Assert.Contains(u.Variable, step.Program.Variables));
            Assert.DoesNotContain(
                step.Program.Nodes, n => n.Op is not (Leaf or ReshapeOp or SliceOp) && !Traversal.Ancestors(n.Outputs).Any(a => a.Op is InputOp));
        }
    }

    [Fact]
    public void A_norm_whose_input_somebody_else_reads_is_not_folded()
    {
        var x = F.Input("x", DType.F32, [2, 3, 5, 5]);
        Tensor Variable(string name, Shape shape) => new Variable(name, DType.F32, shape, MemoryClass.Weights).Value;
        var y = F.Conv2d(x, Variable("w", [4, 3, 3, 3]));
        var norm = F.BatchNorm(y, Variable("m", [4]), Variable("v", [4])).Output;
        Assert.Contains(Traversal.Ancestors([FoldBatchNorms.Apply([norm, y])[norm]]), n => n.Op is BatchNormOp);
        Assert.DoesNotContain(Traversal.Ancestors([FoldBatchNorms.Apply([norm])[norm]]), n => n.Op is BatchNormOp);
        var training = F.BatchNorm(y, Variable("m", [4]), Variable("v", [4]), training: true).Output;
        Assert.Contains(Traversal.Ancestors([FoldBatchNorms.Apply([training])[training]]), n => n.Op is BatchNormOp);
        Assert.Contains(Traversal.Ancestors([FoldBatchNorms.Apply([F.BatchNorm(x, Variable("m", [3]), Variable("v", [3])).Output]).Values.Last()]), n => n.Op is BatchNormOp);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_training_step_without_a_pass_learns_the_same(string pass)
    {
        using var cpu = new CpuDevice(2);
        foreach (var net in new[] { "lenet5", "resnet", "mlp" })
        {
            // Sums in another order, whose roundings three steps do not grow beyond a few units.
            Assert.All(TrainingLosses(cpu, net, PassOptions.Default).Zip(TrainingLosses(cpu, net, PassOptions.Parse("-" + pass))), p => Assert.Equal(p.First, p.Second, 2e-5 * p.First));
        }
    }

    private static (Nn.Layers.Module Module, Shape Input) Build(string net) => net switch
    {
        "lenet5" => (ModelCatalog.Find("lenet5").Build(new ModelRequest(new ExampleShape(1, 28, 28), 10)), [3, 1, 28, 28]),
        "resnet" => (CifarResNet.Create(14, 3, 10), [3, 3, 16, 16]),
        "resnet18" => (ResNet.Create(18, 3, 10), [3, 3, 32, 32]),
        _ => (Mlp.Create(32, 10, new MlpOptions { Depth = 6, Width = 24, Residual = ResidualForm.Post, Dropout = 0.2 }), [12, 1, 4, 8]),
    };

    /// <summary>Answers of a net whose parameters, running means and variances have all been drawn.</summary>
    private static float[] Logits(IDevice device, string net, PassOptions passes, DType compute)
    {
        var (module, input) = Build(net);
        var model = new ModelVariables(module);
        var step = new EvalStep(model, input, Losses.CrossEntropy,
            new StepOptions { Compute = compute, ChannelsLast = device.Target.PrefersChannelsLast(compute), Passes = passes });
        using var store = device.CreateStore();
        model.Initialize(store, 3);
        var random = new System.Random(4);
        float Draw(double from, double to) => (float)(from + (to - from) * random.NextDouble());
        foreach (var (name, _, variable) in model.Buffers)
        {
            var isVariance = name.EndsWith("var", StringComparison.Ordinal);
            store.Write<float>(variable, [.. Enumerable.Range(0, (int)variable.Type.Elements).Select(_ => isVariance ? Draw(0.5, 2) : Draw(-0.5, 0.5))]);
        }

        foreach (var group in model.Groups.Where(g => !g.Decays))
            store.Write<float>(group.Arena, [.. Enumerable.Range(0, (int)group.Arena.Type.Elements).Select(_ => Draw(0.6, 1.4))]);
        if (step.Preparation is { } preparation)
        {
            using var prepare = device.Load(Planner.Plan(preparation, device.Target), store);
            prepare.Run();
        }

        using var run = device.Load(Planner.Plan(step.Program, device.Target), store);
        run.Write<float>(EvalStep.Input, [.. Enumerable.Range(0, (int)input.Elements).Select(_ => Draw(-1, 1))]);
        run.Write<int>(EvalStep.Target, new int[input[0]]);
        run.Run();
        var logits = new float[input[0] * 10];
        run.Read<float>(EvalStep.Logits, logits);
        return logits;
    }

    private static double[] TrainingLosses(CpuDevice device, string net, PassOptions passes)
    {
        var (module, input) = Build(net);
        var step = new TrainStep(new ModelVariables(module), input, Losses.CrossEntropy, new Sgd(0.05, 0.9), new StepOptions { ChannelsLast = true, Passes = passes });
        using var store = device.CreateStore();
        using var run = device.Load(Planner.Plan(step.Program, device.Target), store);
        step.Model.Initialize(store, 1);
        store.Write<long>(step.Generator, [5, 0]);
        var random = new System.Random(2);
        var losses = new double[3];
        for (var i = 0; i < losses.Length; i++)
        {
            run.Write<float>(TrainStep.Input, [.. Enumerable.Range(0, (int)input.Elements).Select(_ => (float)random.NextDouble())]);
            run.Write<int>(TrainStep.Target, [.. Enumerable.Range(0, input[0]).Select(j => (i + j) % 10)]);
            run.Write<double>(TrainStep.LearningRate, [0.05]);
            run.Run();
            losses[i] = run.ReadScalar<float>(TrainStep.Loss);
        }

        return losses;
    }

    private static void AssertClose(float[] expected, float[] actual, double tolerance)
    {
        var largest = expected.Max(Math.Abs);
        Assert.True(largest > 0.1, "the logits say nothing");
        var worst = expected.Zip(actual).Max(p => Math.Abs(p.First - p.Second));
        Assert.True(worst <= tolerance * largest, $"differs by {worst:G3} where the largest logit is {largest:G3}");
    }
}
