using System.Collections;

namespace GpuEngine.Core.Graph;

/// <summary>How the values of a sample tensor are drawn.</summary>
public enum SampleKind
{
    /// <summary>Standard normal.</summary>
    Normal,

    /// <summary>Uniform in [Low, High).</summary>
    Uniform,

    /// <summary>Integers in [Low, High).</summary>
    Index,
}

/// <summary>A tensor of a sample: its shape and how it is drawn.</summary>
public sealed record Sample(SampleKind Kind, Shape Shape, double Low = 0, double High = 1)
{
    public static Sample Normal(params int[] shape) => new(SampleKind.Normal, new Shape(shape));

    public static Sample Uniform(double low, double high, params int[] shape) => new(SampleKind.Uniform, new Shape(shape), low, high);

    /// <summary>Integers (i64) in [0, count).</summary>
    public static Sample Index(int count, params int[] shape) => new(SampleKind.Index, new Shape(shape), 0, count);
}

/// <summary>
/// One call of an op for the registry-driven tests: argument name to sample tensor, plus attributes. Attributes are JSON-like
/// values; an op that is not smooth at its sample (max pool at ties) must choose values away from the kink.
/// </summary>
public sealed class OpSample : IEnumerable<KeyValuePair<string, Sample>>
{
    private readonly Dictionary<string, Sample> _tensors = [];

    public Dictionary<string, object?> Attributes { get; init; } = [];

    public IReadOnlyDictionary<string, Sample> Tensors => _tensors;

    public Sample this[string argument]
    {
        get => _tensors[argument];
        set => _tensors[argument] = value;
    }

    public IEnumerator<KeyValuePair<string, Sample>> GetEnumerator() => _tensors.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() =>
        string.Join(" ", _tensors.Select(t => $"{t.Key}{t.Value.Shape}").Concat(Attributes.Select(a => $"{a.Key}={Text(a.Value)}")));

    private static string Text(object? value) => value is Array list ? $"[{string.Join(",", list.Cast<object>())}]" : $"{value}";
}
