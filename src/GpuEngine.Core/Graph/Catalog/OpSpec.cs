namespace GpuEngine.Core.Graph;

/// <summary>A tensor argument of an op, by torch's name.</summary>
public sealed record OpArgument(string Name, bool Optional = false, bool Differentiable = true);

/// <summary>An attribute with its default; values are JSON (numbers, booleans, strings, lists). A null default means "not given".</summary>
public sealed record OpAttribute(string Name, object? Default, string Meaning);

/// <summary>
/// One entry of the catalog: how an op is called by name. The command line (`gpuengine op`), the registry-driven tests and the
/// documentation all read it, so an op is covered the day it is listed.
/// </summary>
public sealed record OpSpec(string Name, string Summary)
{
    public IReadOnlyList<OpArgument> Arguments { get; init; } = [new("input")];

    public IReadOnlyList<OpAttribute> Attributes { get; init; } = [];

    /// <summary>Records the op and names its outputs (`output` first).</summary>
    public required Func<OpCall, IReadOnlyList<NamedTensor>> Build { get; init; }

    /// <summary>Inputs that between them take every path of the op; tests run each of them in every check.</summary>
    public IReadOnlyList<OpSample> Samples { get; init; } = [];

    /// <summary>False for ops that are only ever applied, not differentiated (optimizers).</summary>
    public bool Differentiable { get; init; } = true;

    /// <summary>The entry of an activation without attributes, or with attributes that the caller maps.</summary>
    public static OpSpec Of(Activation activation, string summary) => Of(activation.Name, summary, [], _ => activation);

    public static OpSpec Of(string name, string summary, IReadOnlyList<OpAttribute> attributes, Func<OpCall, Activation> make) => new(name, summary)
    {
        Attributes = attributes,
        Build = call => call.Output(make(call).On(call["input"])),
        Samples =
        [
            new() { ["input"] = Sample.Normal(3, 37) },
            new() { ["input"] = Sample.Uniform(-8, 8, 2, 3, 4, 5) },
        ],
    };
}

/// <summary>A named result of a call.</summary>
public readonly record struct NamedTensor(string Name, Tensor Tensor);
