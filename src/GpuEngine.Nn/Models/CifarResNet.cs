using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>
/// The residual and plain nets for CIFAR-10 (He et al. 2015, section 4.2): a 3x3 convolution, three stages of n blocks with 16, 32
/// and 64 channels, the global mean, a linear classifier; 6n + 2 layers. Shortcuts have no parameters (option A).
/// </summary>
public static class CifarResNet
{
    /// <param name="depth">6n + 2: 20, 32, 44, 56, 110, 1202.</param>
    /// <param name="channels">Channels of the images.</param>
    /// <param name="classes">Outputs.</param>
    /// <param name="residual">False leaves all shortcuts out.</param>
    /// <param name="gamma">Start of the last norm's weight in each branch.</param>
    /// <exception cref="ArgumentException">The depth is not 6n + 2.</exception>
    public static Module Create(int depth, int channels, int classes, bool residual = true, double gamma = 1)
    {
        if (depth < 8 || depth % 6 != 2) throw new ArgumentException($"A CIFAR net has 6n + 2 layers, not {depth}.");
        var init = new Kaiming();
        List<(string, Module)> layers =
        [
            ("conv1", new Conv2d(channels, 16, 3, 1, 1, bias: false, init: init)), ("bn1", new BatchNorm(16)), ("relu", new Activate(new Relu())),
        ];
        var width = 16;
        for (var stage = 0; stage < 3; stage++)
        {
            var blocks = new List<Module>();
            for (var i = 0; i < (depth - 2) / 6; i++)
            {
                var (from, stride) = (width, stage > 0 && i == 0 ? 2 : 1);
                width = 16 << stage;
                var shortcut = stride == 1 ? null : new PaddedShortcut(width, stride);
                blocks.Add(ResidualBlock.Basic(from, width, stride, shortcut, init, residual, gamma));
            }

            layers.Add(($"layer{stage + 1}", new Sequential([.. blocks])));
        }

        layers.AddRange([("avgpool", new AdaptiveAvgPool2d()), ("flatten", new Flatten()), ("fc", new Linear(64, classes, init: init))]);
        return new Sequential(layers);
    }
}
