using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>Modules one after the other, named "0", "1", ... as in torch, or by given names.</summary>
public sealed class Sequential : Module
{
    public Sequential(params Module[] modules)
    {
        for (var i = 0; i < modules.Length; i++) Child(i.ToString(), modules[i]);
    }

    public Sequential(IEnumerable<(string Name, Module Module)> modules)
    {
        foreach (var (name, module) in modules) Child(name, module);
    }

    public override Tensor Forward(Tensor input, Trace trace)
    {
        foreach (var (name, module) in Children) input = Enter(name, module, input, trace);
        return input;
    }

    public override string ToString() => $"sequence of {Children.Count} layers";
}

/// <summary>x + scale branch(x) (He et al. 2016). The branch must keep the shape.</summary>
public sealed class Residual : Module
{
    private readonly Module _branch;

    private readonly double? _scale;

    public Residual(Module branch, double? scale = null) => (_branch, _scale) = (Child("branch", branch), scale);

    public override Tensor Forward(Tensor input, Trace trace)
    {
        var branch = Enter("branch", _branch, input, trace);
        if (branch.Shape != input.Shape)
            throw new ShapeException($"a residual branch must keep the shape {input.Shape}, but gives {branch.Shape}.");
        return input + (_scale is { } scale ? branch * scale : branch);
    }

    public override string ToString() => "residual";
}
