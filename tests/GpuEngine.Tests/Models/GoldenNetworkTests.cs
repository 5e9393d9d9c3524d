using System.Globalization;
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

namespace GpuEngine.Tests.Models;

/// <summary>
/// Ten training steps of whole networks against PyTorch (tests/golden/networks.py): losses, gradients of the first and last step, final weights,
/// running statistics. What is expected is torch's float64 run.
/// </summary>
[Collection("device")]
public sealed class GoldenNetworkTests(DeviceUnderTest under) : IClassFixture<DeviceUnderTest>
{
    private const int Steps = 10, Batch = 8, Classes = 10;

    /// <summary>
    /// How many times further than torch's own float32 runs we may be from float64: their distance is one of a few samples of a random quantity,
    /// ours another one. What the four runs of torch strayed differs among themselves by up to this.
    /// </summary>
    private const double Allowance = 4;

    public static TheoryData<string> Cases => ["lenet5", "resnet20", "mlp-none", "mlp-batch", "mlp-layer", "mlp-group", "mlp-instance"];

    [Fact]
    public void Every_trace_is_followed() => Assert.Equal(Lines().Select(l => l[0]).ToHashSet(), [.. Cases.Select(c => c.Data)]);

    [Theory]
    [MemberData(nameof(Cases))]
    public void The_cpu_follows_torch(string name)
    {
        using var device = new CpuDevice(2);
        Follow(name, device);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Cuda_follows_torch(string name)
    {
        using var device = DeviceUnderTest.Open();
        Follow(name, device);
        under.AssertNothingFound();
    }

    private static void Follow(string name, IDevice device)
    {
        var example = name == "resnet20" ? new ExampleShape(3, 32, 32) : new ExampleShape(1, 28, 28);
        var variables = new ModelVariables(Build(name, example));
        var optimizer = new Sgd(1, momentum: 0.9, weightDecay: 1e-4);
        var step = new TrainStep(
            variables, [Batch, example.Channels, example.Height, example.Width], Losses.CrossEntropy, optimizer,
            new StepOptions { ChannelsLast = device.Target.PrefersChannelsLast(DType.F32) });
        var slots = variables.Groups.SelectMany(g => g.Slots).ToArray();
        var gradients = slots.Zip(step.Gradients).ToDictionary(p => p.First.Name, p => p.Second);
        var program = new TensorProgram(
            "golden", [.. step.Program.Outputs, .. gradients.Select(g => new NamedTensor("grad:" + g.Key, g.Value))], step.Program.Updates);
        using var store = device.CreateStore();
        using var run = device.Load(Planner.Plan(program, device.Target), store);
        variables.Initialize(store, 1);
        var order = variables.Slots.ToList();
        foreach (var group in variables.Groups)
            store.Write<float>(group.Arena, ModelVariables.Join(group, s => Start(s, order.IndexOf(s))));

        var seen = new Dictionary<(string Kind, string Name, int Step), double[]>();
        for (var s = 0; s < Steps; s++)
        {
            run.Write<float>(TrainStep.Input, [.. Enumerable.Range(0, Batch * example.Length).Select(i => (float)(GoldenHash.Unit(1000 + s, i) * Math.Sqrt(3)))]);
            run.Write<int>(TrainStep.Target, [.. Enumerable.Range(0, Batch).Select(i => (int)(GoldenHash.Mix(2000 + s, i) % Classes))]);
            run.Write<double>(TrainStep.LearningRate, [name == "resnet20" ? 0.001 : 0.005]);
            run.Run();
            seen[("loss", "loss", s)] = [run.ReadScalar<float>(TrainStep.Loss)];
            foreach (var (parameter, gradient) in gradients)
            {
                var values = new float[gradient.Type.Elements];
                run.Read<float>("grad:" + parameter, values);
                seen[("gradient", parameter, s)] = [.. values.Select(v => (double)v)];
            }
        }

        foreach (var (tensor, _, values) in variables.Read(store))
            seen[(tensor.Contains("running", StringComparison.Ordinal) ? "buffer" : "weight", tensor, Steps)] = [.. values.Select(v => (double)v)];
        Compare(name, seen);
    }

    private static void Compare(string name, Dictionary<(string Kind, string Name, int Step), double[]> seen)
    {
        var lines = Lines().Where(l => l[0] == name).ToArray();
        var largest = lines.GroupBy(l => (Kind: l[1], Step: l[3]))
            .ToDictionary(g => g.Key, g => g.Max(l => l[5..].Max(v => Math.Abs(double.Parse(v, CultureInfo.InvariantCulture)))));
        var stray = 0.0;
        foreach (var line in lines)
        {
            var numbers = line[4..].Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray();
            // A single number may agree by luck: a loss is allowed what any one before it strayed.
            stray = line[1] == "loss" ? Math.Max(stray, numbers[0]) : numbers[0];
            var actual = seen[(line[1], line[2], int.Parse(line[3], CultureInfo.InvariantCulture))];
            for (var k = 0; k < numbers.Length - 1; k++)
            {
                var (expected, value) = (numbers[k + 1], actual[actual.Length == 1 ? 0 : (long)k * (actual.Length - 1) / 7]);
                // A gradient of one element is a sum whose terms are as large as the gradients beside it: the floor is the rounding of one of those.
                var allowed = Allowance * stray + Math.Pow(2, -23) * largest[(line[1], line[3])];
                Assert.True(
                    Math.Abs(value - expected) <= allowed,
                    $"{name} {line[1]} {line[2]} after {line[3]} steps, value {k}: {value:G9} instead of {expected:G9}, off by {Math.Abs(value - expected) / allowed:F2} of what is allowed");
            }
        }
    }

    private static Module Build(string name, ExampleShape example) => name.StartsWith("mlp-", StringComparison.Ordinal)
        ? Mlp.Create(example.Length, Classes, new MlpOptions { Depth = 3, Width = 48, Norm = Enum.Parse<NormKind>(name[4..], ignoreCase: true) })
        : ModelCatalog.Find(name).Build(new ModelRequest(example, Classes));

    private static float[] Start(ParameterSlot slot, int number)
    {
        var shape = slot.Parameter.Shape;
        var isNorm = slot.Name.EndsWith("weight", StringComparison.Ordinal)
            && (slot.Name.Contains("norm", StringComparison.Ordinal) || slot.Name.Contains("bn", StringComparison.Ordinal));
        return [.. Enumerable.Range(0, (int)shape.Elements).Select(i => (float)Value(GoldenHash.Unit(number, i)))];

        double Value(double u) => shape.Rank > 1 ? u * Math.Sqrt(6.0 / (shape.Elements / shape[0])) : isNorm ? 1 + u * 0.1 : u * 0.1;
    }

    private static IEnumerable<string[]> Lines()
    {
        using var stream = typeof(GoldenNetworkTests).Assembly.GetManifestResourceStream("networks.csv")!;
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line) yield return line.Split(',');
    }
}
