using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// The shortcut without parameters across a change of shape (He et al. 2015, section 3.3, option A): every <paramref name="stride"/>-th
/// row and column, and channels of zeros on both sides up to <paramref name="channels"/>.
/// </summary>
public sealed class PaddedShortcut(int channels, int stride) : Module
{
    public override Tensor Forward(Tensor input, Trace trace)
    {
        var (n, c, h, w) = (input.Shape[0], input.Shape[1], input.Shape[2], input.Shape[3]);
        var fewer = F.Slice(input, [0, 0, 0, 0], [n, c, (h + stride - 1) / stride, (w + stride - 1) / stride], [1, 1, stride, stride]);
        var zeros = channels - c;
        return F.Pad(fewer, [0, zeros / 2, 0, 0], [0, zeros - zeros / 2, 0, 0]);
    }

    public override string ToString() => $"shortcut to {channels} channels";
}
