using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>Convolution of [N, C, H, W]: weight [out, in/groups, kernel, kernel], bias [out].</summary>
public sealed class Conv2d : Module
{
    private readonly string _text;
    private readonly int _stride;
    private readonly int _padding;
    private readonly int _groups;
    private readonly Parameter _weight;
    private readonly Parameter? _bias;

    public Conv2d(int inChannels, int outChannels, int kernel, int stride = 1, int padding = 0, int groups = 1, bool bias = true, Initializer? init = null)
    {
        (_stride, _padding, _groups) = (stride, padding, groups);
        _text = $"conv2d {inChannels} -> {outChannels}, {kernel}x{kernel}";
        _weight = Learn(new Parameter("weight", [outChannels, inChannels / groups, kernel, kernel], init ?? new Kaiming(normal: false, a: Math.Sqrt(5))));
        if (bias) _bias = Learn(new Parameter("bias", [outChannels], init is null ? Initializer.DefaultBias(_weight.Shape) : new Constant(0)));
    }

    public override Tensor Forward(Tensor input, Trace trace) => trace.Produced(_weight, F.Conv2d(
        input, trace[_weight], _bias is null ? null : trace[_bias], _stride, _padding, groups: _groups));

    public override string ToString() => _text;
}
