using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>The layout pass changes where numbers lie and nothing else.</summary>
[Collection("device")]
public sealed class ChannelsLastTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private const int Batch = 4, Steps = 3;

    public static TheoryData<string> Nets => ["resnet", "pooled"];

    [Theory]
    [MemberData(nameof(Nets))]
    public void Three_steps_are_those_of_channels_first(string net)
    {
        // f32 on both sides: sums in another order, whose roundings three steps do not grow beyond a few units.
        var (first, last) = (Losses(under.Shared, net, DType.F32, false), Losses(under.Shared, net, DType.F32, true));
        Assert.All(first.Zip(last), p => Assert.Equal(p.First, p.Second, 2e-5 * p.First));
        using var cpu = new CpuDevice(1);
        Assert.All(first.Zip(Losses(cpu, net, DType.F32, true)), p => Assert.Equal(p.First, p.Second, 2e-5 * p.First));
    }

    [Theory]
    [MemberData(nameof(Nets))]
    public void In_bf16_as_well(string net)
    {
        // Every layer rounds to 8 bits in either layout; where sums differ in their order, single roundings fall otherwise.
        var (first, last) = (Losses(under.Shared, net, DType.BF16, false), Losses(under.Shared, net, DType.BF16, true));
        Assert.All(first.Zip(last), p => Assert.Equal(p.First, p.Second, 0.02 * p.First));
    }

    [Fact]
    public void Images_are_turned_once_on_their_way_in()
    {
        var step = Step(Build("resnet"), DType.BF16, true);
        var plan = Planner.Plan(step.Program, under.Shared.Target);
        var turns = plan.Launches.Select(l => l.Node).Where(n => n.Op is PermuteOp && n.Outputs[0].Rank == 4).ToList();
        // Weights and their gradients are turned, the input is; no activation is. Kernels of 1x1 and lone channels are views.
        var weights = Build("resnet").Parameters().Where(p => p.Parameter.Shape.Rank == 4).Select(p => p.Parameter.Shape.Elements).ToHashSet();
        var images = turns.Where(n => !weights.Contains(n.Outputs[0].Type.Elements)).ToList();
        Assert.Single(images);
        Assert.Equal(Batch * 3 * 16 * 16, images[0].Outputs[0].Type.Elements);
        Assert.DoesNotContain(plan.Launches, l => l.Node.Op is ConvolutionOp or Conv2dOp or BatchNormOp { ChannelsLast: false });
    }

    [Fact]
    public void A_net_without_convolutions_stays_as_it_is()
    {
        var x = F.Input("x", DType.F32, [2, 3, 4, 4]);
        var y = F.Relu(x + 1.0);
        Assert.Same(y, ChannelsLastLayout.Apply([y])[0]);
    }

    private static Sequential Build(string net) => net == "resnet"
        ? new Sequential(
            new Conv2d(3, 8, 3, 1, 1, bias: false), new BatchNorm(8), new Activate(new Relu()),
            ResidualBlock.Basic(8, 8, 1, null, new Nn.Initializers.Kaiming()),
            ResidualBlock.Basic(8, 16, 2, new PaddedShortcut(16, 2), new Nn.Initializers.Kaiming()),
            ResidualBlock.Bottleneck(16, 8, 2, new Sequential(new Conv2d(16, 32, 1, 2, bias: false), new BatchNorm(32)), new Nn.Initializers.Kaiming()),
            new AdaptiveAvgPool2d(), new Flatten(), new Linear(32, 10))
        : new Sequential(
            new Conv2d(3, 8, 5, padding: 2), new Activate(new Gelu()), new Nn.Layers.MaxPool2d(3, 2, 1), new Conv2d(8, 16, 3, groups: 2), new Activate(new Relu()),
            new LocalResponseNorm(5, 1e-4, 0.75, 2), new Nn.Layers.MaxPool2d(2), new Dropout(0.3), new Flatten(), new Linear(16 * 3 * 3, 10));

    private static TrainStep Step(Sequential net, DType compute, bool last) =>
        new(new ModelVariables(net), [Batch, 3, 16, 16], Nn.Training.Losses.CrossEntropy, new Sgd(0.05, 0.9), new StepOptions { Compute = compute, ChannelsLast = last });

    private static double[] Losses(IDevice device, string net, DType compute, bool last)
    {
        var step = Step(Build(net), compute, last);
        using var store = device.CreateStore();
        using var run = device.Load(Planner.Plan(step.Program, device.Target), store);
        step.Model.Initialize(store, 1);
        store.Write<long>(step.Generator, [5, 0]);
        var random = new System.Random(2);
        var losses = new double[Steps];
        for (var i = 0; i < Steps; i++)
        {
            run.Write<float>(TrainStep.Input, [.. Enumerable.Range(0, Batch * 3 * 16 * 16).Select(_ => (float)random.NextDouble())]);
            run.Write<int>(TrainStep.Target, [.. Enumerable.Range(0, Batch).Select(j => (i + j) % 10)]);
            run.Write<double>(TrainStep.LearningRate, [0.05]);
            run.Run();
            losses[i] = run.ReadScalar<float>(TrainStep.Loss);
        }

        return losses;
    }
}
