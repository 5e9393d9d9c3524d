using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Models;

/// <summary>
/// relu(branch(x) + shortcut(x)) with torchvision's names: conv1, bn1, conv2, bn2 and in a bottleneck conv3, bn3, then
/// downsample where the shortcut changes shape. Without the sum it is a block of a plain net.
/// </summary>
public sealed class ResidualBlock : Module
{
    private readonly (string Name, Module Module)[] _branch;
    private readonly Module? _shortcut;
    private readonly bool _sum;
    private readonly string _text;

    private ResidualBlock(string text, IEnumerable<Module> branch, Module? shortcut, bool sum)
    {
        (_text, _sum) = (text, sum);
        _branch = [.. branch.Select((module, i) => (Name: $"{(i % 2 == 0 ? "conv" : "bn")}{i / 2 + 1}", Module: module))];
        foreach (var (name, module) in _branch) Child(name, module);
        if (sum && shortcut is not null) _shortcut = Child("downsample", shortcut);
    }

    /// <summary>Two 3x3 convolutions, the first with the stride (He et al. 2015, figure 5 left).</summary>
    /// <param name="inChannels">Channels of the input.</param>
    /// <param name="channels">Channels of both convolutions.</param>
    /// <param name="stride">Stride of the block.</param>
    /// <param name="shortcut">What brings the input to the output's shape; null where it has that shape.</param>
    /// <param name="sum">False leaves the shortcut out: a plain net.</param>
    /// <param name="gamma">Start of the last norm's weight.</param>
    /// <param name="init">How the convolutions start.</param>
    public static ResidualBlock Basic(int inChannels, int channels, int stride, Module? shortcut, Initializer init, bool sum = true, double gamma = 1) =>
        new(
            $"basic block {inChannels} -> {channels}",
            [
                new Conv2d(inChannels, channels, 3, stride, 1, bias: false, init: init), new BatchNorm(channels),
                new Conv2d(channels, channels, 3, 1, 1, bias: false, init: init), new BatchNorm(channels, gamma: gamma),
            ],
            shortcut, sum);

    /// <summary>
    /// 1x1, 3x3 and 1x1 convolutions to four times the channels (He et al. 2015, figure 5 right). The stride is in the 3x3, which is
    /// called v1.5 and is what torchvision's weights are for.
    /// </summary>
    public static ResidualBlock Bottleneck(int inChannels, int channels, int stride, Module? shortcut, Initializer init, double gamma = 1) =>
        new(
            $"bottleneck {inChannels} -> {4 * channels}",
            [
                new Conv2d(inChannels, channels, 1, bias: false, init: init), new BatchNorm(channels),
                new Conv2d(channels, channels, 3, stride, 1, bias: false, init: init), new BatchNorm(channels),
                new Conv2d(channels, 4 * channels, 1, bias: false, init: init), new BatchNorm(4 * channels, gamma: gamma),
            ],
            shortcut, true);

    public override Tensor Forward(Tensor input, Trace trace)
    {
        var x = input;
        for (var i = 0; i < _branch.Length; i++)
        {
            x = Enter(_branch[i].Name, _branch[i].Module, x, trace);
            var isLast = i == _branch.Length - 1;
            if (i % 2 == 1 && !isLast) x = F.Relu(x);
        }

        if (_sum) x += _shortcut is null ? input : Enter("downsample", _shortcut, input, trace);
        return F.Relu(x);
    }

    public override string ToString() => _text;
}
