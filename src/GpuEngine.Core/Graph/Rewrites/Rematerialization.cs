using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Graph;

/// <summary>
/// A training step in two parts: the forward nodes, and everything else. Values of the forward part that are dropped are made again by
/// copies of their nodes, each just before the first node of the backward part that reads it (Griewank and Walther 2008, "Evaluating
/// Derivatives", chapter 12): nodes run in the order in which they are made. What is made again is kept until its last reader is done.
/// </summary>
public sealed class Rematerialization
{
    private readonly IReadOnlySet<Tensor> _dropped;
    private readonly Dictionary<Tensor, Tensor> _map = [];
    private readonly Dictionary<Tensor, Tensor> _again = [];
    private readonly HashSet<Node> _forward = [];
    private long? _peak;

    private Rematerialization(TensorProgram program, IReadOnlySet<Node> forward, IReadOnlySet<Tensor> dropped)
    {
        _dropped = dropped;
        foreach (var node in program.Nodes)
        {
            using var scope = Scope.Restore(node.Scope);
            var isForward = forward.Contains(node);
            // Every node is renewed, so that those that stay keep their places in the order of execution.
            var outputs = node.Op is Leaf
                ? node.Outputs
                : node.Op.Apply([.. node.Inputs.Select(t => isForward || !dropped.Contains(t) ? _map[t] : Again(t))]).Outputs;
            for (var i = 0; i < outputs.Count; i++) _map[node.Outputs[i]] = outputs[i];
            if (isForward) _forward.Add(outputs[0].Node);
        }

        Program = program.Map(_map);
    }

    /// <summary>The program with what is dropped made again.</summary>
    public TensorProgram Program { get; }

    /// <summary>From every tensor of the old program to the new one.</summary>
    public IReadOnlyDictionary<Tensor, Tensor> Map => _map;

    /// <summary>The forward nodes of the new program, and those that make a value again.</summary>
    public IReadOnlySet<Node> Forward => _forward;

    /// <summary>Bytes of values alive at once at most.</summary>
    internal long PeakBytes => _peak ??= LiveBytes.Peak(Program);

    /// <param name="program">A training step.</param>
    /// <param name="forward">The nodes of its forward part: with a node, those that it depends on.</param>
    /// <param name="dropped">
    /// Tensors of the forward part that the backward part must not read, nor those that make them again: their nodes' inputs are in the set
    /// too, or last.
    /// </param>
    internal static Rematerialization Apply(TensorProgram program, IReadOnlySet<Node> forward, IReadOnlySet<Tensor> dropped) =>
        new(program, forward, dropped);

    /// <summary>
    /// Whether a node may run twice. Those of other devices' statistics may not: every device would have to agree on it.
    /// </summary>
    internal static bool CanRepeat(Op op) => op is not (Leaf or SyncBatchNormStatsOp or SyncBatchNormSumsOp);

    /// <summary>The value again, made by copies of the nodes that it takes.</summary>
    private Tensor Again(Tensor tensor)
    {
        if (_again.TryGetValue(tensor, out var made)) return made;
        var wanted = new HashSet<Node> { tensor.Node };
        var stack = new Stack<Node>([tensor.Node]);
        while (stack.TryPop(out var node))
        {
            foreach (var input in node.Inputs)
            {
                if (_dropped.Contains(input) && !_again.ContainsKey(input) && wanted.Add(input.Node)) stack.Push(input.Node);
            }
        }

        foreach (var node in wanted.OrderBy(n => n.Id))
        {
            using var scope = Scope.Recompute(node.Scope);
            Repeat(node);
        }

        return _again[tensor];
    }

    private void Repeat(Node node)
    {
        Tensor[] inputs = [.. node.Inputs.Select(t => _dropped.Contains(t) ? _again[t] : _map[t])];
        if (node.Op is BatchNormOp { Training: true } norm && !node.Outputs.Skip(1).Take(2).Any(_dropped.Contains))
        {
            // The statistics are at hand; and the running ones must not advance twice.
            var mask = norm.HasMask && _dropped.Contains(node.Outputs[norm.MaskOutput]);
            var apply = (new BatchNormApplyOp(norm) with { Mask = mask }).Apply(
            [
                .. inputs.Take(norm.FirstRunning), _map[node.Outputs[1]], _map[node.Outputs[2]], .. norm.Residual ? new[] { inputs[^1] } : [],
            ]);
            _forward.Add(apply);
            _again[node.Outputs[0]] = apply.Outputs[0];
            if (mask) _again[node.Outputs[norm.MaskOutput]] = apply.Outputs[1];
            return;
        }

        // What is counted on the way has been counted.
        var again = (node.Op is BiasActOp { Counts: true } counting ? counting with { Counts = false } : node.Op).Apply(inputs);
        _forward.Add(again);
        for (var i = 0; i < again.Outputs.Count; i++) _again[node.Outputs[i]] = again.Outputs[i];
    }
}
