using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>1.7159 tanh(2/3 x): the squashing function of LeCun et al. 1998, appendix A, which maps 1 to 1 and -1 to -1.</summary>
public sealed class ScaledTanh : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => F.Tanh(input * (2.0 / 3)) * 1.7159;

    public override string ToString() => "scaled_tanh";
}
