using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>Any activation of the catalog that has no parameters to learn.</summary>
public sealed class Activate(Activation activation) : Module
{
    /// <summary>
    /// The module of an activation by name: "relu", "leaky_relu:0.1", "gelu:tanh", and those that learn: "prelu", "srelu".
    /// </summary>
    /// <param name="text">The name, with attributes after a colon.</param>
    /// <param name="channels">Channels of the input, for activations that learn per channel.</param>
    /// <exception cref="Core.UserException">There is no such activation.</exception>
    public static Module Named(string text, int channels) => text switch
    {
        "prelu" => new PRelu(1),
        "prelu_channels" => new PRelu(channels),
        "srelu" => new SRelu(channels),
        _ => new Activate(Core.Graph.Activations.Parse(text)),
    };

    public override Tensor Forward(Tensor input, Trace trace) => activation.On(input);

    public override string ToString() => activation.Name;
}

/// <summary>Leaky relu with learned slopes, starting at 0.25 and free of weight decay (He et al. 2015).</summary>
public sealed class PRelu : Module
{
    private readonly Parameter _weight;

    /// <param name="parameters">1, or one per channel.</param>
    public PRelu(int parameters = 1) => _weight = Learn(new Parameter("weight", [parameters], new Constant(0.25)) { Decays = false });

    public override Tensor Forward(Tensor input, Trace trace) => F.PRelu(input, trace[_weight]);

    public override string ToString() => "prelu";
}

/// <summary>
/// Three linear pieces with learned thresholds and slopes per channel (Jin et al. 2016); it starts as relu with a slope of 1
/// beyond both thresholds.
/// </summary>
public sealed class SRelu : Module
{
    private readonly Parameter _tR;
    private readonly Parameter _aR;
    private readonly Parameter _tL;
    private readonly Parameter _aL;

    public SRelu(int channels)
    {
        _tR = Learn(new Parameter("t_r", [channels], new Constant(1)) { Decays = false });
        _aR = Learn(new Parameter("a_r", [channels], new Constant(1)) { Decays = false });
        _tL = Learn(new Parameter("t_l", [channels], new Constant(0)) { Decays = false });
        _aL = Learn(new Parameter("a_l", [channels], new Constant(0)) { Decays = false });
    }

    public override Tensor Forward(Tensor input, Trace trace) => F.SRelu(input, trace[_tR], trace[_aR], trace[_tL], trace[_aL]);

    public override string ToString() => "srelu";
}

/// <summary>
/// Maximum over groups of neighbouring channels (Goodfellow et al. 2013): a linear layer of k times the width before it gives
/// the maxout unit of the lectures, max(w1 x + b1, w2 x + b2) for k = 2.
/// </summary>
public sealed class Maxout(int pieces) : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => F.Maxout(input, pieces);

    public override string ToString() => $"maxout {pieces}";
}

/// <summary>Zeroes each value with probability <paramref name="p"/> in training and scales the rest by 1/(1-p).</summary>
public sealed class Dropout(double p = 0.5) : Module
{
    public override Tensor Forward(Tensor input, Trace trace)
    {
        // The stream is drawn in evaluation as well, so that later layers keep theirs.
        var stream = trace.NextStream();
        if (!trace.Training || p == 0) return input;
        var generator = trace.Generator ?? throw new InvalidOperationException("A model with dropout trains with a generator.");
        return F.Dropout(input, p, true, generator, stream);
    }

    public override string ToString() => $"dropout {p}";
}
