using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>A new value for a variable at the end of a run.</summary>
public readonly record struct VariableUpdate(Variable Variable, Tensor Value);

/// <summary>
/// A graph to be run as a whole: what it reads (inputs, by name; variables), what it returns, and which variables it replaces.
/// One run sees the old values of all variables everywhere; updates take effect together at its end.
/// </summary>
public sealed class TensorProgram
{
    public TensorProgram(string name, IReadOnlyList<NamedTensor> outputs, IReadOnlyList<VariableUpdate>? updates = null)
    {
        Name = name;
        Outputs = outputs;
        Updates = updates ?? [];
        foreach (var update in Updates)
        {
            if (update.Value.Type != update.Variable.Type)
                throw new ShapeException($"{name}: variable {update.Variable} cannot take the value {update.Value.Type}.");
        }

        Nodes = Traversal.Ancestors(Roots);
        Inputs = [.. Nodes.Where(n => n.Op is InputOp).Select(n => n.Outputs[0])];
        var twice = Inputs.GroupBy(InputName).FirstOrDefault(g => g.Count() > 1);
        if (twice is not null) throw new ArgumentException($"{name}: two inputs are named '{twice.Key}'.");
        Variables = [.. Nodes.Select(n => n.Op).OfType<VariableOp>().Select(v => v.Variable).Union(Updates.Select(u => u.Variable))];
    }

    public string Name { get; }

    public IReadOnlyList<Tensor> Inputs { get; }

    public IReadOnlyList<NamedTensor> Outputs { get; }

    public IReadOnlyList<VariableUpdate> Updates { get; }

    public IReadOnlyList<Variable> Variables { get; }

    /// <summary>All nodes, oldest first.</summary>
    public IReadOnlyList<Node> Nodes { get; }

    /// <summary>What must be computed.</summary>
    public IEnumerable<Tensor> Roots => Outputs.Select(o => o.Tensor).Concat(Updates.Select(u => u.Value));

    public static string InputName(Tensor input) => ((InputOp)input.Node.Op).InputName;

    /// <summary>The same program over a rewritten graph.</summary>
    public TensorProgram Map(IReadOnlyDictionary<Tensor, Tensor> map) => new(
        Name,
        [.. Outputs.Select(o => o with { Tensor = map[o.Tensor] })],
        [.. Updates.Select(u => u with { Value = map[u.Value] })]);
}
