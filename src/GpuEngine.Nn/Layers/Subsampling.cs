using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// The pooling of LeNet-5 (LeCun et al. 1998, section II-B, layers S2 and S4): the sum of each 2x2 window of [N, C, H, W] times a
/// learned coefficient plus a learned bias, both per channel.
/// </summary>
public sealed class Subsampling : Module
{
    private readonly int _channels;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    public Subsampling(int channels)
    {
        _channels = channels;
        // The paper's rule with a fan-in of four would let the coefficient be negative; the mean is the natural start.
        _weight = Learn(new Parameter("weight", [channels], new Constant(0.25)));
        _bias = Learn(new Parameter("bias", [channels], new Constant(0)));
    }

    public override Tensor Forward(Tensor input, Trace trace)
    {
        Shape column = [1, _channels, 1, 1];
        return F.AvgPool2d(input, 2, divisorOverride: 1) * F.Reshape(trace[_weight], column) + F.Reshape(trace[_bias], column);
    }

    public override string ToString() => $"subsampling {_channels}";
}
