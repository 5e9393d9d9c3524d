using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Files;
using GpuEngine.Nn.Models;
using GpuEngine.Nn.Training;
using GpuEngine.Tests.CommandLine;
using Xunit;

namespace GpuEngine.Tests.Models;

/// <summary>Torchvision's names, shapes and answers (tests/golden/torchvision_models.py): its weights load as they are.</summary>
public sealed class TorchvisionTests
{
    /// <summary>How much further than torch's one float32 run we may be from float64: both are single samples of the same rounding.</summary>
    private const double Allowance = 4;

    public static TheoryData<string> Named => [.. Lines("names").Select(l => l[0])];

    public static TheoryData<string, string> Answered => new()
    {
        { "resnet18", "cpu" }, { "resnet50", "cpu" }, { "alexnet-one-tower", "cpu" }, { "resnet18", "sim" },
    };

    [Theory]
    [MemberData(nameof(Named))]
    public void Names_and_shapes_are_torchvisions(string name)
    {
        var lines = Tensors(Build(name)).Select(t => $"{t.Name} {string.Join('x', t.Shape)}\n").Order(StringComparer.Ordinal).ToArray();
        var expected = Lines("names").Single(l => l[0] == name);
        Assert.Equal(int.Parse(expected[2], CultureInfo.InvariantCulture), lines.Length);
        Assert.Equal(expected[3], Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Concat(lines)))));
    }

    [Theory]
    [MemberData(nameof(Answered))]
    public void Weights_of_torchvision_give_its_logits(string name, string device)
    {
        if (device == "sim") Cuda.CudaUnderTest.RequireSimulator();
        using var folder = new TemporaryFolder();
        var (weights, images, logits) = (folder["weights.safetensors"], folder["images.safetensors"], folder["logits.safetensors"]);
        var writer = new SafetensorsWriter();
        foreach (var ((tensor, shape), number) in Tensors(Build(name)).Select((t, i) => (t, i)))
            writer.Add<float>(tensor, SafetensorsDtype.F32, [.. shape.Select(d => (long)d)], Start(tensor, shape, number));
        // The counters that torch saves beside its running statistics.
        if (name != "alexnet-one-tower") writer.Add<long>("bn1.num_batches_tracked", SafetensorsDtype.I64, [], new long[] { 0 });
        writer.Save(weights);
        float[] pixels = [.. Enumerable.Range(0, 2 * 3 * 64 * 64).Select(i => (float)(GoldenHash.Unit(1000, i) * Math.Sqrt(3)))];
        new SafetensorsWriter().Add<float>("input", SafetensorsDtype.F32, [2, 3, 64, 64], pixels).Save(images);

        var run = Gpuengine.Run("eval", "--weights", weights, "--model", name, "--input", images, "--output", logits, "--device", device);
        Assert.True(run.ExitCode == 0, run.Error);

        using var file = SafetensorsFile.Open(logits);
        Assert.Equal("[2, 1000]", file.Tensors["output"].ShapeText);
        var actual = file.Read<float>("output");
        var numbers = Lines("logits").Single(l => l[0] == name)[2..].Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray();
        for (var i = 0; i < 16; i++)
        {
            var value = actual[i / 8 * 1000 + i % 8 * 125];
            Assert.True(Math.Abs(value - numbers[i + 1]) <= Allowance * numbers[0], $"{name} logit {i}: {value} instead of {numbers[i + 1]}; torch strayed {numbers[0]}");
        }
    }

    [Fact]
    public void Weights_that_do_not_fit_are_all_named_and_none_is_loaded()
    {
        using var folder = new TemporaryFolder();
        var (weights, images) = (folder["weights.safetensors"], folder["images.safetensors"]);
        var writer = new SafetensorsWriter();
        foreach (var ((tensor, shape), number) in Tensors(Build("resnet18")).Select((t, i) => (t, i)))
        {
            if (tensor == "layer1.0.conv1.weight") continue;
            long[] dims = tensor == "layer2.0.bn1.bias" ? [64] : [.. shape.Select(d => (long)d)];
            writer.Add<float>(tensor == "layer4.1.bn2.weight" ? "layer4.1.norm2.weight" : tensor, SafetensorsDtype.F32, dims, new float[dims.Aggregate(1L, (a, b) => a * b)]);
        }

        writer.Save(weights);
        new SafetensorsWriter().Add<float>("input", SafetensorsDtype.F32, [1, 3, 64, 64], new float[3 * 64 * 64]).Save(images);
        var run = Gpuengine.Run("eval", "--weights", weights, "--model", "resnet18", "--input", images, "--output", folder["logits.safetensors"], "--device", "cpu");
        run.IsUserError(
            "'layer1.0.conv1.weight' [64, 64, 3, 3] is missing", "'layer2.0.bn1.bias' is [64] instead of [128]", "'layer4.1.bn2.weight' [512] is missing",
            "'layer4.1.norm2.weight' is not part of the model", "nothing was loaded");
        Assert.False(File.Exists(folder["logits.safetensors"]));
    }

    private static ModelVariables Build(string name) => new(ModelCatalog.Find(name).Build(new ModelRequest(new ExampleShape(3, 64, 64), 1000)));

    /// <summary>In the order of torch's state dict: a module's parameters, then its buffers.</summary>
    private static IEnumerable<(string Name, Shape Shape)> Tensors(ModelVariables model) =>
        model.Slots.Select(s => (s.Name, s.Parameter.Shape)).Concat(model.Buffers.Select(b => (b.Name, b.Buffer.Shape)))
            .GroupBy(t => t.Name[..t.Name.LastIndexOf('.')]).SelectMany(g => g);

    private static float[] Start(string name, Shape shape, int number)
    {
        var values = new float[shape.Elements];
        var bound = shape.Rank > 1 ? Math.Sqrt(6.0 / (shape.Elements / shape[0])) : 0;
        var aroundOne = shape.Rank == 1 && (name.EndsWith("weight", StringComparison.Ordinal) || name.EndsWith("running_var", StringComparison.Ordinal));
        for (var i = 0; i < values.Length; i++)
        {
            var u = GoldenHash.Unit(number, i);
            values[i] = (float)(bound > 0 ? u * bound : aroundOne ? 1 + u * 0.1 : u * 0.1);
        }

        return values;
    }

    private static IEnumerable<string[]> Lines(string kind)
    {
        using var stream = typeof(TorchvisionTests).Assembly.GetManifestResourceStream("torchvision_models.csv")!;
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line)
        {
            var parts = line.Split(',');
            if (parts[1] == kind) yield return parts;
        }
    }
}
