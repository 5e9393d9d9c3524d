using GpuEngine.Core;
using GpuEngine.Nn.Data;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>
/// LeNet-5 as published (LeCun et al. 1998, section II-B): learned subsampling, the connection table of C3, scaled tanh, and
/// outputs that measure the distance to fixed 7x12 pictures of the digits. 60,000 parameters. The logits are minus half the
/// squared distances, so that cross-entropy is the paper's discriminative criterion (equation 9) without its rubbish class.
/// </summary>
public static class LeNet5Original
{
    /// <summary>Table I of the paper: which maps of S2 each map of C3 sees.</summary>
    public static int[][] Table { get; } =
    [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [0, 4, 5], [0, 1, 5],
        [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [0, 3, 4, 5], [0, 1, 4, 5], [0, 1, 2, 5], [0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5],
        [0, 1, 2, 3, 4, 5],
    ];

    /// <exception cref="UserException">The images are not 28x28 or 32x32 with one channel, or there are more than ten classes.</exception>
    public static Module Create(ExampleShape example, int classes)
    {
        if (example is not { Channels: 1, Height: 28 or 32 } || example.Height != example.Width)
            throw new UserException($"lenet5-original takes grey images of 28x28 or 32x32, but these are {example.Channels}x{example.Height}x{example.Width}; use lenet5.");
        if (classes > 10) throw new UserException($"lenet5-original has pictures of the ten digits as its outputs, but there are {classes} classes; use lenet5.");
        return new Sequential(
        [
            ("c1", new Conv2d(1, 6, 5, padding: example.Height == 28 ? 2 : 0, init: Start(25))), ("f1", new ScaledTanh()),
            ("s2", new Subsampling(6)), ("f2", new ScaledTanh()),
            ("c3", new PartialConv2d(6, 5, Table, Start(100))), ("f3", new ScaledTanh()),
            ("s4", new Subsampling(16)), ("f4", new ScaledTanh()),
            ("c5", new Conv2d(16, 120, 5, init: Start(400))), ("f5", new ScaledTanh()),
            ("flatten", new Flatten()),
            ("f6", new Linear(120, 84, init: Start(120))), ("f7", new ScaledTanh()),
            ("output", new DigitDistance(classes)),
        ]);
    }

    /// <summary>Appendix A: uniform within 2.4 over the fan-in.</summary>
    private static Uniform Start(int fanIn) => new(-2.4 / fanIn, 2.4 / fanIn);
}
