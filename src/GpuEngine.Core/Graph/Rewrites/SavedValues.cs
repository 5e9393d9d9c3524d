using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Graph;

/// <summary>What the backward part of a training step reads of its forward part: the values that are saved from one to the other.</summary>
internal sealed class SavedValues
{
    private readonly HashSet<Tensor> _read = [];
    private readonly HashSet<Tensor> _lasting = [];
    private readonly HashSet<Node> _dependent = [];

    public SavedValues(TensorProgram program, IReadOnlySet<Node> forward)
    {
        Forward = [.. program.Nodes.Where(forward.Contains)];
        foreach (var node in program.Nodes)
        {
            if (forward.Contains(node))
            {
                if (node.Op is InputOp || node.Inputs.Any(t => _dependent.Contains(t.Node))) _dependent.Add(node);
                continue;
            }

            foreach (var input in node.Inputs.Where(t => forward.Contains(t.Node))) AddWithSources(_read, input);
        }

        foreach (var root in program.Roots) AddWithSources(_lasting, root);
        var saved = Forward.SelectMany(n => n.Outputs).Where(IsStored).Where(_read.Contains).Select(t => t.Type.Bytes).ToList();
        Small = saved.Sum() / (16 * Math.Max(1, saved.Count));
    }

    /// <summary>The forward nodes, oldest first.</summary>
    public IReadOnlyList<Node> Forward { get; }

    /// <summary>Values smaller than this, a sixteenth of the mean, are not worth a launch.</summary>
    public long Small { get; }

    /// <summary>Whether the backward part reads the value, or a view of it.</summary>
    public bool IsRead(Tensor tensor) => _read.Contains(tensor);

    /// <summary>Whether the value, or a view of it, is a result of the program.</summary>
    public bool Lasts(Tensor tensor) => _lasting.Contains(tensor);

    /// <summary>Whether the value depends on the batch; what depends on variables only is not an activation.</summary>
    public bool DependsOnInput(Tensor tensor) => _dependent.Contains(tensor.Node);

    /// <summary>Whether the value has storage of its own in the plan's arena.</summary>
    public static bool IsStored(Tensor tensor) => tensor.Node.Op is not Leaf && StorageAssignment.ViewRoot(tensor) == tensor;

    private static void AddWithSources(HashSet<Tensor> set, Tensor tensor)
    {
        set.Add(tensor);
        while (StorageAssignment.ViewRoot(tensor) != tensor)
        {
            tensor = tensor.Node.Inputs[0];
            set.Add(tensor);
        }
    }
}
