using System.Globalization;
using System.Text.Json.Nodes;

namespace GpuEngine.Core.Graph;

/// <summary>
/// Activations by name, for configurations and command lines: the catalog's entries without learned parameters, with their
/// attributes, e.g. "relu", "leaky_relu" with negative_slope 0.1.
/// </summary>
public static class Activations
{
    // In the order in which they are shown.
    private static readonly OpSpec[] Specs =
    [
        Identity.Spec, Relu.Spec, LeakyRelu.Spec, Elu.Spec, Elu.SeluSpec, Elu.CeluSpec, Gelu.Spec, Silu.Spec, Mish.Spec, Softplus.Spec,
        Softsign.Spec, Sigmoid.Spec, LogSigmoid.Spec, Tanh.Spec, Hardtanh.Spec, Hardtanh.Relu6Spec, Hardsigmoid.Spec, Hardswish.Spec,
    ];

    /// <summary>The catalog entries of all activations; their attributes are the parameters of <see cref="Create"/>.</summary>
    public static IReadOnlyList<OpSpec> All => Specs;

    /// <summary>The activation of that name with some of its parameters given, the others at torch's defaults.</summary>
    /// <exception cref="UserException">The name, or the name or value of a parameter, is not valid.</exception>
    public static Activation Create(string name, IReadOnlyDictionary<string, JsonNode?>? parameters = null)
    {
        var input = new Dictionary<string, Tensor> { ["input"] = F.Input("input", DType.F32, Shape.Scalar) };
        // Recorded on a stand-in, an entry shows which activation it makes of its attributes.
        var call = new OpCall(Find(name), input, parameters ?? new Dictionary<string, JsonNode?>());
        return (Activation)Find(name).Build(call)[0].Tensor.Node.Op;
    }

    /// <summary>
    /// Reads "name" or "name:value,value,..." with the parameters in the order of the entry's attributes: "leaky_relu:0.1",
    /// "gelu:tanh", "hardtanh:-2,2".
    /// </summary>
    /// <exception cref="UserException">The text names no activation, or has too many or invalid values.</exception>
    public static Activation Parse(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0) return Create(text);
        var spec = Find(text[..colon]);
        var values = text[(colon + 1)..].Split(',', StringSplitOptions.TrimEntries);
        if (values.Length > spec.Attributes.Count)
        {
            var takes = spec.Attributes.Count == 0 ? "no parameters" : "at most " + string.Join(", ", spec.Attributes.Select(a => a.Name));
            throw new UserException($"Activation '{text}' has {values.Length} value(s) after the colon, but {spec.Name} takes {takes}.");
        }

        return Create(spec.Name, values.Select((v, i) => (spec.Attributes[i].Name, Value: Value(v))).ToDictionary(p => p.Name, JsonNode? (p) => p.Value));
    }

    private static OpSpec Find(string name) =>
        Specs.FirstOrDefault(s => s.Name == name) ?? throw new UserException(NearestName.Sentence("activation", name, [.. Specs.Select(s => s.Name)]));

    private static JsonValue? Value(string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) ? JsonValue.Create(number) : JsonValue.Create(text);
}
