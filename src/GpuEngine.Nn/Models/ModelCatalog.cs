using GpuEngine.Core;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>What a model that is known by name alone is built from.</summary>
/// <param name="Example">Shape of one image.</param>
/// <param name="Classes">Outputs.</param>
/// <param name="Activation">The activation asked for, or null; only models that say so take one.</param>
/// <param name="ZeroInitResidual">Whether the last norm of each residual branch starts at zero.</param>
public sealed record ModelRequest(ExampleShape Example, int Classes, string? Activation = null, bool ZeroInitResidual = false)
{
    /// <summary>Where the last norm's weight of a residual branch starts.</summary>
    public double Gamma => ZeroInitResidual ? 0 : 1;
}

/// <summary>A convolutional net by name.</summary>
/// <param name="Name">As --model takes it.</param>
/// <param name="Summary">One line for lists.</param>
/// <param name="Build">Makes it.</param>
public sealed record ModelSpec(string Name, string Summary, Func<ModelRequest, Module> Build)
{
    /// <summary>Whether --activation means something to it.</summary>
    public bool TakesActivation { get; init; }

    /// <summary>Whether --zero-init-residual means something to it.</summary>
    public bool HasResidual { get; init; }
}

/// <summary>The published architectures, to the parameter. The multi-layer perceptron, with its many options, is <see cref="Mlp"/>.</summary>
public static class ModelCatalog
{
    public static IReadOnlyList<ModelSpec> All { get; } =
    [
        new("lenet5", "LeNet-5 as it is used today: ReLU, max pooling, dense second convolution", r => LeNet5.Create(r.Example, r.Classes, r.Activation ?? "relu"))
        {
            TakesActivation = true,
        },
        new("lenet5-original", "LeNet-5 as published in 1998, 60,000 parameters", r => LeNet5Original.Create(r.Example, r.Classes)),
        new("alexnet", "AlexNet as published in 2012, in two groups, 224x224", r => AlexNet.TwoGroups(r.Example, r.Classes)),
        new("alexnet-one-tower", "AlexNet as torchvision has it", r => AlexNet.OneTower(r.Example, r.Classes)),
        new("airbench94", "the net of cifar10-airbench (Jordan 2024), 32x32", r => Airbench.Create(r.Example, r.Classes)),
        .. new[] { 20, 32, 44, 56, 110, 1202 }.Select(depth => new ModelSpec(
            $"resnet{depth}", $"residual net of {depth} layers for CIFAR", r => CifarResNet.Create(depth, r.Example.Channels, r.Classes, gamma: r.Gamma)) { HasResidual = true }),
        .. new[] { 20, 32, 44, 56, 110 }.Select(depth => new ModelSpec(
            $"plain{depth}", $"the same {depth} layers without shortcuts", r => CifarResNet.Create(depth, r.Example.Channels, r.Classes, residual: false))),
        .. new[] { 18, 34, 50, 101, 152 }.Select(depth => new ModelSpec(
            $"resnet{depth}", $"residual net of {depth} layers for ImageNet, torchvision's names", r => ResNet.Create(depth, r.Example.Channels, r.Classes, r.Gamma)) { HasResidual = true }),
    ];

    /// <summary>Every name, mlp first.</summary>
    public static IReadOnlyList<string> Names { get; } = ["mlp", .. All.Select(m => m.Name)];

    /// <summary>The entry of a name.</summary>
    /// <exception cref="UserException">There is none.</exception>
    public static ModelSpec Find(string name) =>
        All.FirstOrDefault(m => m.Name == name) ?? throw new UserException(NearestName.Sentence("model", name, Names));
}
