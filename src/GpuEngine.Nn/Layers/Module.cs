using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// A layer or a network of layers. A module knows its parameters and how to record its computation; names of parameters are
/// paths of child names joined by dots, as in torch ("layers.3.weight").
/// </summary>
public abstract class Module
{
    private readonly List<(string Name, Module Module)> _children = [];
    private readonly List<Parameter> _parameters = [];
    private readonly List<ModuleBuffer> _buffers = [];

    public IReadOnlyList<(string Name, Module Module)> Children => _children;

    /// <summary>Parameters of this module itself, without its children's.</summary>
    public IReadOnlyList<Parameter> OwnParameters => _parameters;

    public IReadOnlyList<ModuleBuffer> OwnBuffers => _buffers;

    /// <summary>All parameters with their full names, in the order of definition.</summary>
    public IEnumerable<(string Name, Parameter Parameter)> Parameters() => Walk("", m => m._parameters, p => p.Name);

    /// <summary>All buffers with their full names.</summary>
    public IEnumerable<(string Name, ModuleBuffer Buffer)> Buffers() => Walk("", m => m._buffers, b => b.Name);

    /// <summary>Number of learnable values.</summary>
    public long ParameterCount => Parameters().Sum(p => p.Parameter.Shape.Elements);

    /// <summary>Records the computation.</summary>
    /// <exception cref="ShapeException">The input does not fit; the message names the layer.</exception>
    public abstract Tensor Forward(Tensor input, Trace trace);

    protected T Child<T>(string name, T module) where T : Module
    {
        if (_children.Any(c => c.Name == name)) throw new ArgumentException($"The module has two children named '{name}'.");
        _children.Add((name, module));
        return module;
    }

    protected Parameter Learn(Parameter parameter)
    {
        _parameters.Add(parameter);
        return parameter;
    }

    protected ModuleBuffer Keep(ModuleBuffer buffer)
    {
        _buffers.Add(buffer);
        return buffer;
    }

    /// <summary>Runs a child under its name, so that nodes and messages say where they come from.</summary>
    protected Tensor Enter(string name, Module child, Tensor input, Trace trace)
    {
        using var scope = Scope.Enter(name);
        try
        {
            return child.Forward(input, trace);
        }
        catch (ShapeException e) when (!e.Message.StartsWith("Layer ", StringComparison.Ordinal))
        {
            throw new ShapeException($"Layer '{Scope.Current}' ({child}) does not accept its input of shape {input.Shape}: {e.Message}", e);
        }
    }

    private IEnumerable<(string Name, T Item)> Walk<T>(string prefix, Func<Module, IEnumerable<T>> own, Func<T, string> name)
    {
        foreach (var item in own(this)) yield return (prefix + name(item), item);
        foreach (var (child, module) in _children)
        {
            foreach (var inner in module.Walk(prefix + child + ".", own, name)) yield return inner;
        }
    }
}
