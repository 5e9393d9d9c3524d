using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>Any activation of the catalog that has no parameters to learn.</summary>
public sealed class Activate(Activation activation) : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => activation.On(input);

    public override string ToString() => activation.Name;
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
        return F.Dropout(input, generator, p, true, stream);
    }

    public override string ToString() => $"dropout {p}";
}
