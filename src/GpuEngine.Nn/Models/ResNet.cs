using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>
/// The residual nets for ImageNet (He et al. 2015, table 1) in torchvision's form (v1.5) and with its parameter names, so that its
/// weights load. Any image from 32x32 up is taken; the published accuracies are for 224x224.
/// </summary>
public static class ResNet
{
    private static readonly Dictionary<int, (bool Bottleneck, int[] Blocks)> Forms = new()
    {
        [18] = (false, [2, 2, 2, 2]),
        [34] = (false, [3, 4, 6, 3]),
        [50] = (true, [3, 4, 6, 3]),
        [101] = (true, [3, 4, 23, 3]),
        [152] = (true, [3, 8, 36, 3]),
    };

    /// <param name="depth">18, 34, 50, 101 or 152.</param>
    /// <param name="channels">Channels of the images.</param>
    /// <param name="classes">Outputs.</param>
    /// <param name="gamma">Start of the last norm's weight in each branch; 0 makes blocks identities at first.</param>
    /// <exception cref="ArgumentException">There is no such depth.</exception>
    public static Module Create(int depth, int channels, int classes, double gamma = 1)
    {
        if (!Forms.TryGetValue(depth, out var form)) throw new ArgumentException($"There is no ResNet of {depth} layers; there are {string.Join(", ", Forms.Keys)}.");
        var init = new Kaiming(mode: FanMode.FanOut, nonlinearity: "relu");
        List<(string, Module)> layers =
        [
            ("conv1", new Conv2d(channels, 64, 7, 2, 3, bias: false, init: init)), ("bn1", new BatchNorm(64)), ("relu", new Activate(new Relu())),
            ("maxpool", new MaxPool2d(3, 2, 1)),
        ];
        var width = 64;
        for (var stage = 0; stage < 4; stage++)
        {
            var blocks = new List<Module>();
            for (var i = 0; i < form.Blocks[stage]; i++)
            {
                var (from, stride, inner) = (width, stage > 0 && i == 0 ? 2 : 1, 64 << stage);
                width = form.Bottleneck ? 4 * inner : inner;
                Module? shortcut = stride == 1 && from == width ? null : new Sequential(
                    new Conv2d(from, width, 1, stride, bias: false, init: init), new BatchNorm(width));
                blocks.Add(form.Bottleneck
                    ? ResidualBlock.Bottleneck(from, inner, stride, shortcut, init, gamma)
                    : ResidualBlock.Basic(from, inner, stride, shortcut, init, gamma: gamma));
            }

            layers.Add(($"layer{stage + 1}", new Sequential([.. blocks])));
        }

        layers.AddRange([("avgpool", new AdaptiveAvgPool2d()), ("flatten", new Flatten()), ("fc", new Linear(width, classes))]);
        return new Sequential(layers);
    }
}
