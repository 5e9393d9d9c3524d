using System.Text.Json.Nodes;

namespace GpuEngine.Core.Graph;

/// <summary>
/// One call of a catalog op: its tensors and attributes, read by torch's names. Every reader throws a
/// <see cref="UserException"/> that names the op, the argument, what was expected and what was found.
/// </summary>
public sealed class OpCall
{
    private readonly OpSpec _spec;
    private readonly IReadOnlyDictionary<string, Tensor> _tensors;
    private readonly Dictionary<string, JsonNode?> _attributes = [];

    public OpCall(OpSpec spec, IReadOnlyDictionary<string, Tensor> tensors, IReadOnlyDictionary<string, JsonNode?> attributes)
    {
        _spec = spec;
        _tensors = tensors;
        foreach (var argument in spec.Arguments)
        {
            if (!argument.Optional && !tensors.ContainsKey(argument.Name))
                throw new UserException($"op {spec.Name}: the input tensor '{argument.Name}' is missing; the file must hold {Wanted(spec)}.");
        }

        foreach (var name in tensors.Keys)
        {
            if (spec.Arguments.All(a => a.Name != name))
                throw new UserException($"op {spec.Name} takes no tensor '{name}'; it takes {Wanted(spec)}.");
        }

        foreach (var (name, value) in attributes)
        {
            if (spec.Attributes.All(a => a.Name != name))
            {
                throw new UserException(spec.Attributes.Count == 0
                    ? $"op {spec.Name} has no attributes, but '{name}' was given."
                    : NearestName.Sentence($"attribute of op {spec.Name}", name, [.. spec.Attributes.Select(a => a.Name)]));
            }

            _attributes[name] = value;
        }
    }

    /// <summary>A required tensor.</summary>
    public Tensor this[string argument] => _tensors[argument];

    public Tensor? Optional(string argument) => _tensors.GetValueOrDefault(argument);

    public IReadOnlyList<NamedTensor> Output(Tensor output) => [new("output", output)];

    public bool Has(string attribute) => Raw(attribute) is not null;

    /// <summary>Whether an attribute that may be a word or a number is a word.</summary>
    public bool IsText(string attribute) => Raw(attribute) is JsonValue value && value.TryGetValue<string>(out _);

    public double Number(string attribute) =>
        Raw(attribute) is JsonValue value && value.TryGetValue<double>(out var number) ? number : throw Wrong(attribute, "a number");

    /// <summary>A number, or infinity, which JSON cannot write as one and which is therefore the string "inf".</summary>
    public double NumberOrInfinity(string attribute) =>
        Raw(attribute) is JsonValue value && value.TryGetValue<string>(out var text) && text == "inf" ? double.PositiveInfinity : Number(attribute);

    public int Integer(string attribute) =>
        Raw(attribute) is JsonValue value && value.TryGetValue<double>(out var number) && number == Math.Floor(number) && Math.Abs(number) <= int.MaxValue
            ? (int)number
            : throw Wrong(attribute, "an integer");

    public bool Flag(string attribute) => Raw(attribute) is JsonValue value && value.TryGetValue<bool>(out var flag) ? flag : throw Wrong(attribute, "true or false");

    /// <summary>A list of numbers; a single number stands for a list of one.</summary>
    public IReadOnlyList<double> Numbers(string attribute)
    {
        if (Raw(attribute) is not JsonArray array) return [Number(attribute)];
        return [.. array.Select(item => item is JsonValue v && v.TryGetValue<double>(out var number) ? number : throw Wrong(attribute, "a list of numbers"))];
    }

    public string Text(string attribute) => Raw(attribute) is JsonValue value && value.TryGetValue<string>(out var text) ? text : throw Wrong(attribute, "a string");

    /// <summary>A list of integers; a single integer stands for a list of one.</summary>
    public Ints Integers(string attribute)
    {
        if (Raw(attribute) is not JsonArray array) return [Integer(attribute)];
        return array.Select(item => item is JsonValue v && v.TryGetValue<double>(out var number) && number == Math.Floor(number)
            ? (int)number
            : throw Wrong(attribute, "a list of integers")).ToArray();
    }

    /// <summary>Two integers (height, width); one integer stands for both.</summary>
    public Ints Pair(string attribute)
    {
        var list = Integers(attribute);
        return list.Count switch
        {
            1 => [list[0], list[0]],
            2 => list,
            _ => throw Wrong(attribute, "an integer or a list of two"),
        };
    }

    /// <summary>Two integers of which either may be null, which <paramref name="absent"/> then stands for.</summary>
    public Ints PartialPair(string attribute, int absent)
    {
        if (Raw(attribute) is not JsonArray { Count: 2 } array) return Pair(attribute);
        return array.Select(item => item is null ? absent
            : item is JsonValue v && v.TryGetValue<double>(out var number) && number == Math.Floor(number) ? (int)number
            : throw Wrong(attribute, "an integer or a list of two")).ToArray();
    }

    /// <summary>One of a few words.</summary>
    public T Choice<T>(string attribute, params (string Word, T Value)[] choices)
    {
        var word = Text(attribute);
        foreach (var choice in choices)
        {
            if (choice.Word == word) return choice.Value;
        }

        throw new UserException(NearestName.Sentence($"value of attribute '{attribute}' of op {_spec.Name}", word, [.. choices.Select(c => c.Word)]));
    }

    private static string Wanted(OpSpec spec) => string.Join(", ", spec.Arguments.Select(a => a.Optional ? $"'{a.Name}' (optional)" : $"'{a.Name}'"));

    private JsonNode? Raw(string attribute)
    {
        if (_attributes.TryGetValue(attribute, out var given)) return given;
        var declared = _spec.Attributes.FirstOrDefault(a => a.Name == attribute)
            ?? throw new InvalidOperationException($"op {_spec.Name} does not declare the attribute '{attribute}'.");
        return ToJson(declared.Default);
    }

    /// <summary>The JSON of an attribute value given in code: a number, boolean, string or array of numbers.</summary>
    public static JsonNode? ToJson(object? value) => value switch
    {
        null => null,
        bool flag => JsonValue.Create(flag),
        string text => JsonValue.Create(text),
        int[] list => new JsonArray([.. list.Select(i => (JsonNode)JsonValue.Create((double)i))]),
        double[] list => new JsonArray([.. list.Select(x => (JsonNode)JsonValue.Create(x))]),
        _ => JsonValue.Create(Convert.ToDouble(value)),
    };

    private UserException Wrong(string attribute, string expected) =>
        new($"op {_spec.Name}: attribute '{attribute}' must be {expected}, but is {Raw(attribute)?.ToJsonString() ?? "not given"}.");
}
