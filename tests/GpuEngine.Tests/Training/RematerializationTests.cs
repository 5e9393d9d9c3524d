using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Optimizers;
using GpuEngine.Nn.Training;
using GpuEngine.Tests.Cuda;
using Xunit;

namespace GpuEngine.Tests.Training;

/// <summary>Steps that make activations again end in the bits of steps that keep them, and need less memory.</summary>
[Collection("device")]
public sealed class RematerializationTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private const int Steps = 3;

    private static readonly PassOptions Plain = PassOptions.Default, Recompute = Plain with { Recompute = true };

    /// <summary>A net, and whether it has activations that are cheap to make again.</summary>
    public static TheoryData<string> Nets => ["lenet5", "resnet", "mlp", "mlp-layer"];

    [Theory]
    [MemberData(nameof(Nets))]
    public void Weights_statistics_and_losses_keep_their_bits_on_the_cpu(string net)
    {
        using var cpu = new CpuDevice(2);
        var expected = Train(cpu, net, Plain);
        foreach (var passes in new[] { Recompute, Plain with { Checkpoint = 2 }, Plain with { Checkpoint = CheckpointSegments.Auto }, Recompute with { Checkpoint = 3 } })
            AssertSameBits(expected, Train(cpu, net, passes), $"{passes}");
        foreach (var passes in new[] { Recompute, Recompute with { Checkpoint = 2 } })
            AssertSameBits(Train(cpu, net, Plain, DType.BF16), Train(cpu, net, passes, DType.BF16), $"bf16 {passes}");
    }

    [Theory]
    [InlineData("resnet")]
    [InlineData("mlp")]
    public void Measuring_on_the_way_changes_neither_bits_nor_what_is_saved(string net)
    {
        using var cpu = new CpuDevice(2);
        var passes = Recompute with { Checkpoint = 2 };
        AssertSameBits(Train(cpu, net, Plain, measured: ByProducts.All), Train(cpu, net, passes, measured: ByProducts.All), "measured");
        var (plain, measured) = (Step(net, passes).Program, Step(net, passes, measured: ByProducts.All).Program);
        // Nothing is made again for the sake of a measurement, nor counted twice.
        Assert.Equal(plain.Nodes.Count(n => n.Repeats > 0 && n.Op is BatchNormApplyOp), measured.Nodes.Count(n => n.Repeats > 0 && n.Op is BatchNormApplyOp));
        Assert.All(measured.Nodes.Where(n => n.Repeats > 0), n => Assert.False(n.Op is BiasActOp { Counts: true } or BatchNormOp));
    }

    [Theory]
    [InlineData("resnet", DType.F32)]
    [InlineData("resnet", DType.BF16)]
    [InlineData("mlp", DType.F32)]
    public void And_on_a_cuda_device(string net, DType compute)
    {
        var expected = Train(under.Shared, net, Plain, compute);
        AssertSameBits(expected, Train(under.Shared, net, Recompute, compute), "recompute");
        AssertSameBits(expected, Train(under.Shared, net, Recompute with { Checkpoint = 2 }, compute), "checkpoint");
        under.AssertNothingFound();
    }

    [Fact]
    public void Memory_falls_step_by_step()
    {
        using var cpu = new CpuDevice(1);
        long Activations(PassOptions passes) => Plan(cpu, "resnet", passes).ArenaBytes[MemoryClass.Activations];
        var (plain, recompute) = (Activations(Plain), Activations(Recompute));
        var (segments, both) = (Activations(Plain with { Checkpoint = CheckpointSegments.Auto }), Activations(Recompute with { Checkpoint = CheckpointSegments.Auto }));
        Assert.True(recompute < 0.75 * plain, $"{recompute} of {plain}");
        Assert.True(segments < 0.75 * plain, $"{segments} of {plain}");
        Assert.True(both <= segments, $"{both} and {segments}");
    }

    [Fact]
    public void What_is_made_again_is_cheap_and_made_just_before_it_is_read()
    {
        using var cpu = new CpuDevice(1);
        var plan = Plan(cpu, "resnet", Recompute);
        var launches = plan.Launches.Select(l => l.Node).ToList();
        var again = launches.Where(n => n.Repeats > 0).ToList();
        Assert.NotEmpty(again);
        Assert.All(again, n => Assert.True(RecomputeActivations.IsCheap(n.Op), n.Op.Name));
        Assert.Contains(again, n => n.Op is BatchNormApplyOp { Residual: true });
        // Behind the last forward launch, and no further from the first reader than other launches that are made for the same reader.
        var loss = launches.FindIndex(n => n.Op is CrossEntropyWithGradientOp);
        foreach (var node in again)
        {
            var at = launches.IndexOf(node);
            Assert.True(at > loss);
            var reader = launches.FindIndex(n => n.Inputs.Any(t => StorageAssignment.ViewRoot(t).Node == node));
            Assert.All(launches.Skip(at).Take(reader - at), n => Assert.True(n.Repeats > 0, $"{n} between {node} and {launches[reader]}"));
        }
    }

    [Fact]
    public void Running_statistics_have_one_writer_and_random_numbers_one_offset()
    {
        var step = Step("mlp", Recompute with { Checkpoint = 2 });
        Assert.All(step.Program.Nodes.Where(n => n.Repeats > 0), n => Assert.IsNotType<BatchNormOp>(n.Op));
        Assert.Contains(step.Program.Nodes, n => n.Op is LinearOp && n.Repeats == 1);
        Assert.Equal(step.Program.Updates.Count, step.Program.Updates.Select(u => u.Variable).Distinct().Count());
        Assert.All(step.Program.Nodes.Where(n => n.Op is DropoutOp or BiasActOp { Dropout: not null }), n => Assert.Same(step.Generator.Value, n.Inputs[^1]));
    }

    [Theory]
    [InlineData("1", "--checkpoint")]
    [InlineData("-3", "--checkpoint")]
    [InlineData("sometimes", "--checkpoint")]
    public void A_senseless_number_of_segments_is_refused(string segments, string named)
    {
        var e = Assert.Throws<UserException>(() => TrainingSetup.Complete(new RunConfig { Checkpoint = segments }));
        Assert.Contains(named, e.Message);
    }

    [Fact]
    public void More_segments_than_places_to_cut_are_refused()
    {
        var e = Assert.Throws<UserException>(() => Step("resnet", Plain with { Checkpoint = 1000 }));
        Assert.Contains("at most", e.Message);
        Assert.Throws<UserException>(() => PassOptions.Parse("-fold"));
        Assert.Throws<UserException>(() => PassOptions.Parse("fuse-bias"));
    }

    [Fact]
    public void A_run_with_recompute_resumes_to_the_same_bits_and_holds_its_forecast()
    {
        using var folder = new TemporaryFolder();
        var config = TinyJob.Config with { CheckpointEvery = 4, Epochs = 2, Recompute = true, Checkpoint = "2", Depth = 5 };
        var whole = TinyJob.Run(config, folder["whole"]);
        Assert.Equal(whole.PredictedBytes, whole.AllocatedBytes.Values.Sum());
        TinyJob.Run(config with { Epochs = 1, Schedule = config.Schedule }, folder["cut"]);
        Lab.TrainingJob.Resume(folder["cut"], new System.Text.Json.Nodes.JsonObject { ["epochs"] = 2 }, new TinyJob.Silent()).Run();
        var kept = TinyJob.Run(config with { Recompute = null, Checkpoint = null }, folder["kept"]);
        Assert.True(whole.AllocatedBytes[MemoryClass.Activations] < kept.AllocatedBytes[MemoryClass.Activations]);
        Assert.Equal(TinyJob.LastCheckpoint(folder["kept"]), TinyJob.LastCheckpoint(folder["whole"]));
        Assert.Contains("\"checkpoint\": \"2\"", File.ReadAllText(folder["whole/config.json"]));
    }

    [Theory]
    [InlineData(null, false)]
    [InlineData("relu", true)]
    [InlineData("silu", true)]
    public void Applied_statistics_give_what_batch_norm_gave(string? activation, bool residual)
    {
        foreach (var (shape, last) in new (int[], bool)[] { ([6, 19], false), ([3, 5, 4, 7], false), ([2, 3, 5, 16], true) })
        {
            var c = new Ops.NormCase();
            var channels = shape[last ? shape.Length - 1 : 1];
            var (x, w, b) = (c.Normal("x", new Shape(shape)), c.Normal("w", [channels]), c.Normal("b", [channels]));
            var r = residual ? c.Normal("r", new Shape(shape)) : null;
            var op = new BatchNormOp(true, 0.1, 1e-5, true, false, activation is null ? null : Activations.Parse(activation), true, residual, last);
            Tensor[] added = r is null ? [] : [r];
            var norm = op.Apply([x, w, b, .. added]);
            var apply = new BatchNormApplyOp(op).Apply([x, w, b, norm.Outputs[1], norm.Outputs[2], .. added]);
            c.Output("y", norm.Outputs[0]);
            c.Output("again", apply.Outputs[0]);
            c.Output("decomposed", ((FusedOp)apply.Op).Decompose(apply.Inputs)[0]);
            if (op.HasMask) c.Output("same signs", F.Cast(F.Eq(F.Cast(norm.Outputs[^1], DType.F64), F.Cast(apply.Outputs[1], DType.F64)), DType.F64));
            var run = c.Run();
            Assert.Equal(run["y"], run["again"]);
            // Float64: the decomposition multiplies by invstd and weight one after the other.
            Assert.All(run["y"].Zip(run["decomposed"]), p => Assert.Equal(p.First, p.Second, 1e-13 * Math.Max(1, Math.Abs(p.First))));
            if (op.HasMask) Assert.All(run["same signs"], v => Assert.Equal(1, v));
        }

        var input = F.Input("x", DType.F32, [4, 3]);
        Assert.Throws<ShapeException>(() => new BatchNormApplyOp(false, null, false, false, false).Apply(input, input, input));
        Assert.Throws<ArgumentException>(() => new BatchNormApplyOp(false, null, false, false, true).Apply(input, F.Input("m", DType.F32, [3]), F.Input("s", DType.F32, [3])));
    }

    private static ExecutionPlan Plan(CpuDevice device, string net, PassOptions passes) =>
        Planner.Plan(Step(net, passes).Program, device.Target);

    private static (Module Module, Shape Input) Build(string net)
    {
        MlpOptions deep = new() { Depth = 9, Width = 24, Residual = ResidualForm.Pre, Activation = "gelu", Dropout = 0.2 };
        return net switch
        {
            "lenet5" => (ModelCatalog.Find("lenet5").Build(new ModelRequest(new ExampleShape(1, 28, 28), 10)), [4, 1, 28, 28]),
            "resnet" => (CifarResNet.Create(14, 3, 10), [4, 3, 16, 16]),
            "mlp" => (Mlp.Create(32, 10, deep), [16, 1, 4, 8]),
            _ => (Mlp.Create(32, 10, deep with { Norm = NormKind.Layer, Residual = ResidualForm.None, Activation = "relu" }), [16, 1, 4, 8]),
        };
    }

    private static TrainStep Step(string net, PassOptions passes, DType compute = DType.F32, bool last = false, ByProducts measured = ByProducts.None)
    {
        var (module, input) = Build(net);
        return new TrainStep(new ModelVariables(module), input, Losses.CrossEntropy, new Sgd(0.05, 0.9),
            new StepOptions { Clipping = new(1, null), Compute = compute, ChannelsLast = last, Passes = passes, ByProducts = measured });
    }

    /// <summary>The bytes of every variable after some steps, by name, and the losses.</summary>
    private static Dictionary<string, byte[]> Train(IDevice device, string net, PassOptions passes, DType compute = DType.F32, ByProducts measured = ByProducts.None)
    {
        var step = Step(net, passes, compute, device.Target.PrefersChannelsLast(compute), measured);
        using var store = device.CreateStore();
        using var run = device.Load(Planner.Plan(step.Program, device.Target), store);
        step.Model.Initialize(store, 1);
        if (step.Model.CopyProgram() is { } copies)
        {
            using var copy = device.Load(Planner.Plan(copies, device.Target), store);
            copy.Run();
        }

        store.Write<long>(step.Generator, [5, 0]);
        var random = new System.Random(2);
        var input = step.Program.Inputs.First(t => TensorProgram.InputName(t) == TrainStep.Input);
        for (var i = 0; i < Steps; i++)
        {
            run.Write<float>(TrainStep.Input, [.. Enumerable.Range(0, (int)input.Type.Elements).Select(_ => (float)random.NextDouble())]);
            run.Write<int>(TrainStep.Target, [.. Enumerable.Range(0, input.Shape[0]).Select(j => (i + j) % 10)]);
            run.Write<double>(TrainStep.LearningRate, [0.05]);
            run.Run();
        }

        return step.Program.Updates.Select(u => u.Variable).ToDictionary(v => v.Name, v =>
        {
            var bytes = new byte[v.Type.Bytes];
            store.Read(v, bytes);
            return bytes;
        });
    }

    private static void AssertSameBits(Dictionary<string, byte[]> expected, Dictionary<string, byte[]> actual, string what)
    {
        Assert.Equal(expected.Keys.Order(), actual.Keys.Order());
        foreach (var (name, bytes) in expected)
            Assert.True(bytes.AsSpan().SequenceEqual(actual[name]), $"{what}: {name} differs in {bytes.Zip(actual[name]).Count(p => p.First != p.Second)} of {bytes.Length} bytes");
    }
}
