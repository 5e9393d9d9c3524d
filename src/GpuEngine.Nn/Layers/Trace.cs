using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>One recording of a model: which values its parameters have, whether it trains, and what it wants to be updated.</summary>
public sealed class Trace
{
    private readonly Func<Parameter, bool, Tensor> _parameters;
    private readonly Func<ModuleBuffer, Tensor> _buffers;
    private readonly Dictionary<ModuleBuffer, Tensor> _updates = [];
    private readonly Dictionary<Parameter, Tensor> _products = [];
    private readonly Dictionary<(Parameter, bool), Tensor> _used = [];
    private int _streams;

    /// <param name="training">Whether layers behave as in training.</param>
    /// <param name="parameters">The value of a parameter: as layers compute with it, or, where the second argument is true, in f32.</param>
    /// <param name="buffers">The value of a buffer.</param>
    /// <param name="generator">State of the random generator.</param>
    public Trace(bool training, Func<Parameter, bool, Tensor> parameters, Func<ModuleBuffer, Tensor> buffers, Tensor? generator = null)
    {
        Training = training;
        _parameters = parameters;
        _buffers = buffers;
        Generator = generator;
    }

    public bool Training { get; }

    /// <summary>The random generator's state i64[2] (seed, offset); null where nothing may be random.</summary>
    public Tensor? Generator { get; }

    /// <summary>New values of buffers, in the order in which they were asked for.</summary>
    public IReadOnlyDictionary<ModuleBuffer, Tensor> Updates => _updates;

    public Tensor this[Parameter parameter] => Use(parameter, false);

    /// <summary>The f32 master of a parameter: norms scale and shift f32 values, so theirs need not be rounded.</summary>
    public Tensor Master(Parameter parameter) => Use(parameter, true);

    /// <summary>Every form in which parameters were read: what the loss is differentiated by.</summary>
    public ILookup<Parameter, Tensor> Used => _used.ToLookup(u => u.Key.Item1, u => u.Value);

    public Tensor this[ModuleBuffer buffer] => _buffers(buffer);

    /// <summary>What each weight made of its layer's input, before any norm or activation, in the order of the forward pass.</summary>
    public IReadOnlyDictionary<Parameter, Tensor> Products => _products;

    /// <summary>Layers with a weight call this with their output; data-driven initialisation looks at it.</summary>
    public Tensor Produced(Parameter weight, Tensor output)
    {
        _products[weight] = output;
        return output;
    }

    private Tensor Use(Parameter parameter, bool master)
    {
        if (!_used.TryGetValue((parameter, master), out var tensor)) _used.Add((parameter, master), tensor = _parameters(parameter, master));
        return tensor;
    }

    public void Update(ModuleBuffer buffer, Tensor value) => _updates.Add(buffer, value);

    /// <summary>
    /// A number for one consumer of random numbers, the same in every recording of the same model. Stream 0 is left to the
    /// data, so streams start at 1.
    /// </summary>
    public int NextStream() => ++_streams;
}
