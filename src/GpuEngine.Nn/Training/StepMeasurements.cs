using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Training;

/// <summary>
/// The by-products of a training step: what its launches leave as outputs of the program, and what they mean for layers and parameters.
/// Reading them copies a few numbers per channel; nothing is computed on the device for it.
/// </summary>
public sealed class StepMeasurements
{
    private const string Mean = "mean.", InvStd = "invstd.", Positive = "positive.", Nonfinite = "nonfinite.";
    private const string GradientSquares = "grad_squares", GradientFinite = "grad_finite";

    private readonly IReadOnlyList<LayerByProducts> _layers;
    private readonly ByProducts _asked;

    internal StepMeasurements(ByProducts asked, IReadOnlyList<LayerByProducts> layers, ModelVariables model)
    {
        (_asked, _layers) = (asked, layers);
        if (!asked.HasFlag(ByProducts.GradientNorms)) return;
        Parameters = [.. model.Groups.SelectMany(g => g.Slots).Select(s => s.Name)];
        var starts = new List<int>();
        var arena = 0;
        foreach (var group in model.Groups)
        {
            starts.AddRange(group.Slots.Select(s => arena + s.Offset));
            arena = checked(arena + group.Arena.Type.Shape[0]);
        }

        Segments = [.. starts];
    }

    /// <summary>Layers that leave something, in the order in which they run.</summary>
    public IReadOnlyList<string> Layers => [.. _layers.Select(l => l.Layer)];

    /// <summary>Parameters whose gradients are measured, in the order of the groups' slots.</summary>
    public IReadOnlyList<string> Parameters { get; } = [];

    /// <summary>Where the parameters' gradients start, the groups laid end to end.</summary>
    internal Ints Segments { get; } = [];

    /// <summary>The tensors that layers leave, as outputs of the step's program.</summary>
    internal IEnumerable<NamedTensor> LayerOutputs => _layers.SelectMany(l => new (string Kind, Tensor? Tensor)[]
    {
        (Mean, l.Mean), (InvStd, l.InvStd), (Positive, l.Positive), (Nonfinite, l.Nonfinite),
    }.Where(p => p.Tensor is not null).Select(p => new NamedTensor(p.Kind + l.Layer, p.Tensor!)));

    /// <summary>
    /// What the last step left, by name: <c>mean.LAYER</c> and <c>var.LAYER</c> (biased; a number per channel, or per row of norms of single
    /// samples), <c>dead.LAYER</c> (units that no example made positive), <c>finite.LAYER</c> (1 or 0),
    /// <c>grad_norm.PARAMETER</c> (before clipping) and <c>grad_finite.PARAMETER</c> (1 or 0).
    /// </summary>
    public IReadOnlyDictionary<string, double[]> Read(IExecutable step)
    {
        var values = new Dictionary<string, double[]>();
        foreach (var layer in _layers)
        {
            double[] Values(string kind, Tensor tensor) => Doubles(step, kind + layer.Layer, tensor.Type);
            var mean = layer.Mean is { } m ? Values(Mean, m) : null;
            var invstd = layer.InvStd is { } s ? Values(InvStd, s) : null;
            if (_asked.HasFlag(ByProducts.Statistics))
            {
                if (mean is not null) values[Mean + layer.Layer] = mean;
                if (invstd is not null) values["var." + layer.Layer] = [.. invstd.Select(i => Math.Max(1 / (i * i) - layer.Eps, 0))];
            }

            if (layer.Positive is { } p) values["dead." + layer.Layer] = [Values(Positive, p).Count(n => n == 0)];
            if (!_asked.HasFlag(ByProducts.Finite)) continue;
            bool? finite = layer.Nonfinite is { } bad ? Values(Nonfinite, bad).All(n => n == 0)
                : invstd is not null ? invstd.Concat(mean ?? []).All(double.IsFinite) : null;
            if (finite is { } f) values["finite." + layer.Layer] = [f ? 1 : 0];
        }

        if (Parameters.Count == 0) return values;
        var squares = Doubles(step, GradientSquares, new TensorType(DType.F64, [Parameters.Count]));
        var flags = Doubles(step, GradientFinite, new TensorType(DType.Bool, [Parameters.Count]));
        for (var i = 0; i < Parameters.Count; i++)
        {
            values["grad_norm." + Parameters[i]] = [Math.Sqrt(squares[i])];
            values["grad_finite." + Parameters[i]] = [flags[i]];
        }

        return values;
    }

    /// <summary>The same for the gradients.</summary>
    internal static IEnumerable<NamedTensor> GradientOutputs(SegmentNorms norms) => [new(GradientSquares, norms.Squares), new(GradientFinite, norms.IsFinite)];

    private static double[] Doubles(IExecutable step, string output, TensorType type)
    {
        var bytes = new byte[type.Bytes];
        step.Read(output, bytes);
        return ElementData.ToDoubles(type.DType, bytes);
    }
}
