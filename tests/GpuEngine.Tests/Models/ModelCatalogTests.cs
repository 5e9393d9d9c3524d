using GpuEngine.Core;
using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;
using GpuEngine.Nn.Models;
using Xunit;

namespace GpuEngine.Tests.Models;

/// <summary>The published architectures: parameters counted, names, shapes, what they refuse.</summary>
public sealed class ModelCatalogTests
{
    private static readonly ExampleShape ImageNet = new(3, 224, 224), Cifar = new(3, 32, 32), Mnist = new(1, 28, 28);

    /// <summary>
    /// LeNet-5: LeCun et al. 1998, section II-B. AlexNet: the paper's layers; torchvision's alexnet. ImageNet nets: torchvision.
    /// CIFAR nets: counted layer by layer from He et al. 2015, section 4.2 (0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M in table 6).
    /// </summary>
    public static TheoryData<string, long> Counts => new()
    {
        { "lenet5-original", 60_000 }, { "lenet5", 61_706 },
        { "alexnet", 60_965_224 }, { "alexnet-one-tower", 61_100_840 },
        { "resnet20", 269_722 }, { "resnet32", 464_154 }, { "resnet44", 658_586 }, { "resnet56", 853_018 }, { "resnet110", 1_727_962 }, { "resnet1202", 19_421_274 },
        { "airbench94", 1_971_352 },
        { "plain20", 269_722 }, { "plain56", 853_018 },
        { "resnet18", 11_689_512 }, { "resnet34", 21_797_672 }, { "resnet50", 25_557_032 }, { "resnet101", 44_549_160 }, { "resnet152", 60_192_808 },
    };

    [Theory]
    [MemberData(nameof(Counts))]
    public void Parameters_are_counted_as_published(string name, long count) => Assert.Equal(count, Build(name).ParameterCount);

    public static TheoryData<string> Names => [.. ModelCatalog.Names.Where(n => n != "mlp" && n != "resnet1202")];

    [Theory]
    [MemberData(nameof(Names))]
    public void A_batch_gives_logits(string name)
    {
        var (example, classes) = ExampleOf(name);
        var model = Build(name);
        var trace = Record(model);
        var output = model.Forward(F.Input("x", DType.F32, [2, example.Channels, example.Height, example.Width]), trace);
        Assert.Equal(new Shape(2, classes), output.Shape);
    }

    [Fact]
    public void Imagenet_nets_have_torchvisions_names()
    {
        var names = Build("resnet50").Parameters().Select(p => p.Name).Concat(Build("resnet50").Buffers().Select(b => b.Name)).ToHashSet();
        Assert.Superset(
            new HashSet<string>
            {
                "conv1.weight", "bn1.weight", "bn1.running_mean", "layer1.0.conv3.weight", "layer1.0.bn3.bias", "layer1.0.downsample.0.weight",
                "layer1.0.downsample.1.running_var", "layer3.5.conv2.weight", "layer4.2.bn1.bias", "fc.weight", "fc.bias",
            },
            names);
        // torchvision's resnet50: 161 parameters, 53 norms with two buffers each (its num_batches_tracked are counters, not state).
        Assert.Equal(161 + 106, names.Count);
    }

    [Theory]
    [InlineData("alexnet", 32, "224x224")]
    [InlineData("alexnet-one-tower", 32, "63x63")]
    [InlineData("lenet5-original", 40, "28x28 or 32x32")]
    public void Images_of_another_size_are_refused(string name, int size, string mention)
    {
        var error = Assert.Throws<UserException>(() => ModelCatalog.Find(name).Build(new ModelRequest(new ExampleShape(name == "lenet5-original" ? 1 : 3, size, size), 10)));
        Assert.Contains(mention, error.Message);
        Assert.Contains($"{size}x{size}", error.Message);
    }

    [Fact]
    public void An_unknown_name_is_answered_with_the_nearest()
    {
        var error = Assert.Throws<UserException>(() => ModelCatalog.Find("resnet21"));
        Assert.Contains("resnet20", error.Message);
    }

    // Option A by hand: every second place of a 4x4 map, the two channels in the middle of four.
    [Fact]
    public void The_shortcut_without_parameters_subsamples_and_pads_channels()
    {
        var x = F.Input("x", DType.F32, [1, 2, 4, 4]);
        using var cpu = new CpuDevice(1);
        using var evaluation = new Evaluation(cpu, [new("y", new PaddedShortcut(4, 2).Forward(x, Record(new Flatten())))]);
        evaluation.Set("x", [.. Enumerable.Range(0, 32).Select(i => (double)i)]);
        evaluation.Run();
        Assert.Equal([0, 0, 0, 0, 0, 2, 8, 10, 16, 18, 24, 26, 0, 0, 0, 0], evaluation.Get("y"));
    }

    [Fact]
    public void The_digit_pictures_are_told_apart()
    {
        var x = F.Input("x", DType.F32, [1, 84]);
        var distances = new DigitDistance(10).Forward(x, Record(new Flatten()));
        using var cpu = new CpuDevice(1);
        using var evaluation = new Evaluation(cpu, [new("y", distances)]);
        evaluation.Set("x", [.. new double[84]]);
        evaluation.Run();
        // From the middle every picture is equally far: 84 pixels of distance 1.
        Assert.All(evaluation.Get("y"), d => Assert.Equal(-42, d));
        Assert.Equal(16, LeNet5Original.Table.Length);
        Assert.Equal(60, LeNet5Original.Table.Sum(row => row.Length));
    }

    [Theory]
    [InlineData(ResidualForm.Pre, NormKind.Batch)]
    [InlineData(ResidualForm.Post, NormKind.Batch)]
    [InlineData(ResidualForm.Pre, NormKind.None)]
    [InlineData(ResidualForm.Post, NormKind.Layer)]
    public void A_zero_initialised_branch_adds_nothing(ResidualForm form, NormKind norm)
    {
        var model = Mlp.Create(4, 3, new MlpOptions { Depth = 3, Width = 8, Norm = norm, Residual = form, ZeroInitResidual = true });
        var block = model.Children.Single(c => c.Name == "block1").Module;
        var values = new Trace(true, (p, _) => Start(p), b => F.Full(b.Shape, b.Start, DType.F32));
        using var cpu = new CpuDevice(1);
        using var evaluation = new Evaluation(cpu, [new("y", block.Forward(F.Input("x", DType.F32, [2, 8]), values))]);
        double[] x = [.. Enumerable.Range(0, 16).Select(i => Math.Sin(i))];
        evaluation.Set("x", x);
        evaluation.Run();
        Assert.Equal(x.Select(v => (double)(float)v), evaluation.Get("y"));
    }

    private static Tensor Start(Parameter parameter)
    {
        var values = new double[parameter.Shape.Elements];
        parameter.Init.Fill(values, parameter.Shape, 1, 1);
        return F.Literal(parameter.Shape, DType.F32, values);
    }

    [Fact]
    public void Branches_are_scaled()
    {
        Assert.Equal(0.5, Mlp.BranchScale(9));
        var (x, one) = (F.Input("x", DType.F32, [1, 3]), new Residual(new ScaledTanh(), 0.5));
        using var cpu = new CpuDevice(1);
        using var evaluation = new Evaluation(cpu, [new("y", one.Forward(x, Record(one)))]);
        evaluation.Set("x", [1.0, -1.0, 0.0]);
        evaluation.Run();
        // 1.7159 tanh(2/3) = 1.000022; f32 rounds it to about 1e-7.
        Assert.All(evaluation.Get("y").Zip([1.5, -1.5, 0]), p => Assert.Equal(p.Second, p.First, 1e-4));
    }

    private static Module Build(string name)
    {
        var (example, classes) = ExampleOf(name);
        return ModelCatalog.Find(name).Build(new ModelRequest(example, classes));
    }

    private static (ExampleShape Example, int Classes) ExampleOf(string name) => name switch
    {
        "lenet5" or "lenet5-original" => (Mnist, 10),
        "alexnet" or "alexnet-one-tower" or "resnet18" or "resnet34" or "resnet50" or "resnet101" or "resnet152" => (ImageNet, 1000),
        _ => (Cifar, 10),
    };

    private static Trace Record(Module model) => new(
        true, (p, _) => F.Full(p.Shape, 0.01, DType.F32), b => F.Full(b.Shape, b.Start, DType.F32), F.Input("generator", DType.I64, [2]));
}
