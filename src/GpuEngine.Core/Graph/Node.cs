namespace GpuEngine.Core.Graph;

/// <summary>
/// One application of an op. Nodes are immutable and numbered in the order in which they were made, so the numbers are
/// a topological order: every node is younger than its inputs.
/// </summary>
public sealed class Node
{
    private static long _lastId;

    internal Node(Op op, Tensor[] inputs)
    {
        Id = Interlocked.Increment(ref _lastId);
        Op = op;
        Inputs = inputs;
        Scope = Graph.Scope.Current;
        var types = op.Infer(inputs.Select(t => t.Type).ToArray());
        var outputs = new Tensor[types.Length];
        for (var i = 0; i < outputs.Length; i++) outputs[i] = new Tensor(this, i, types[i]);
        Outputs = outputs;
    }

    public long Id { get; }

    public Op Op { get; }

    public IReadOnlyList<Tensor> Inputs { get; }

    public IReadOnlyList<Tensor> Outputs { get; }

    /// <summary>The layer that made this node ("layers.3.norm"), empty outside any layer. Ledgers group by it.</summary>
    public string Scope { get; }

    /// <summary>
    /// How often other nodes had made this one's values before: it makes them again so that they need not be kept, and must not be merged
    /// with those.
    /// </summary>
    public int Repeats => Graph.Scope.Repeats(Scope);

    public override string ToString() => $"{Op.Name}#{Id}";
}
