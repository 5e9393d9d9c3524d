using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>Normalisation of each channel of each example of [N, C, L, ...] (Ulyanov et al. 2016), with scale and shift.</summary>
public sealed class InstanceNorm : Module
{
    private readonly int _channels;
    private readonly double _eps;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    public InstanceNorm(int channels, double eps = 1e-5, double gamma = 1)
    {
        (_channels, _eps) = (channels, eps);
        _weight = Learn(new Parameter("weight", [channels], new Constant(gamma)));
        _bias = Learn(new Parameter("bias", [channels], new Constant(0)));
    }

    /// <summary>
    /// A vector [N, F] has one place per feature and so no spread to normalise; with one channel it is taken as [N, 1, F].
    /// </summary>
    public override Tensor Forward(Tensor input, Trace trace)
    {
        var vector = input.Rank == 2 && _channels == 1;
        var x = vector ? F.Reshape(input, [input.Shape[0], 1, input.Shape[1]]) : input;
        var y = F.InstanceNorm(x, weight: trace.Master(_weight), bias: trace.Master(_bias), eps: _eps).Output;
        return vector ? F.Reshape(y, input.Shape) : y;
    }

    public override string ToString() => $"instance_norm {_channels}";
}
