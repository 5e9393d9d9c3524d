using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>y = x W^T + b for x [..., in]: weight [out, in], bias [out].</summary>
public sealed class Linear : Module
{
    private readonly int _in;
    private readonly int _out;
    private readonly Parameter _weight;
    private readonly Parameter? _bias;

    /// <param name="inFeatures">Extent of the last axis of the input.</param>
    /// <param name="outFeatures">Extent of the last axis of the output.</param>
    /// <param name="bias">Adds a learnable bias.</param>
    /// <param name="init">How the weight starts; null takes torch's default, uniform within 1/sqrt(in).</param>
    public Linear(int inFeatures, int outFeatures, bool bias = true, Initializer? init = null)
    {
        (_in, _out) = (inFeatures, outFeatures);
        _weight = Learn(new Parameter("weight", [outFeatures, inFeatures], init ?? new Kaiming(normal: false, a: Math.Sqrt(5))));
        // torch starts the bias uniformly too; with a deliberate weight initialiser the lectures start it at zero.
        if (bias) _bias = Learn(new Parameter("bias", [outFeatures], init is null ? Initializer.DefaultBias(_weight.Shape) : new Constant(0)));
    }

    public override Tensor Forward(Tensor input, Trace trace) =>
        trace.Produced(_weight, F.Linear(input, trace[_weight], _bias is null ? null : trace[_bias]));

    public override string ToString() => $"linear {_in} -> {_out}";
}
