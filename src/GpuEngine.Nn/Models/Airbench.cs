using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>
/// The net of airbench94 (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv 2404.00498, section 2 and its listing): a
/// frozen whitening convolution, three groups of two 3x3 convolutions with 64, 256 and 256 channels, a linear classifier whose outputs are
/// divided by nine. 1,971,352 learned numbers for 32x32 colour images and ten classes.
/// </summary>
public static class Airbench
{
    private const double BiasRate = 64, NormMomentum = 0.4, NormEps = 1e-12;

    /// <param name="example">Shape of the images, 32x32.</param>
    /// <param name="classes">Outputs.</param>
    /// <exception cref="UserException">The images have another size.</exception>
    public static Module Create(ExampleShape example, int classes)
    {
        if (example is not { Height: 32, Width: 32 })
            throw new UserException($"The model 'airbench94' takes images of 32x32, but these are {example.Height}x{example.Width}; use --data cifar10, cifar100 or synthetic:3x32x32:10.");
        var whiten = new WhiteningConv2d(example.Channels, 2);
        return new Sequential(
        [
            ("whiten", whiten), ("activ", new Activate(new Gelu())),
            ("group1", Group(whiten.OutChannels, 64)), ("group2", Group(64, 256)), ("group3", Group(256, 256)),
            ("pool", new MaxPool2d(3)), ("flatten", new Flatten()), ("linear", new Linear(256, classes, bias: false)), ("scale", new Scale(1.0 / 9)),
        ]);
    }

    private static Sequential Group(int from, int to) => new(
    [
        ("conv1", Conv(from, to)), ("pool", new MaxPool2d(2)), ("norm1", Norm(to)), ("activ1", new Activate(new Gelu())),
        ("conv2", Conv(to, to)), ("norm2", Norm(to)), ("activ2", new Activate(new Gelu())),
    ]);

    private static Conv2d Conv(int from, int to) => new(from, to, 3, padding: 1, bias: false, init: new PartialDirac());

    private static ShiftBatchNorm Norm(int channels) => new(channels, BiasRate, NormEps, NormMomentum);
}
