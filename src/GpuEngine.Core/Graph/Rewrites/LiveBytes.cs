using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Graph;

/// <summary>
/// How many bytes of values are alive at once when nodes run in a given order: what rewrites compare to choose among plans before any is
/// made. Leaves, parts of a packed arena and new values of variables do not count, for they have storage of their own.
/// </summary>
internal static class LiveBytes
{
    /// <summary>The peak over the program's nodes in their order.</summary>
    public static long Peak(TensorProgram program)
    {
        var nodes = program.Nodes;
        var placed = program.Updates.Select(u => u.Value)
            .Concat(nodes.Where(n => n.Op is PackOp).SelectMany(n => n.Inputs.Concat(n.Outputs))).Select(StorageAssignment.ViewRoot).ToHashSet();
        var last = new Dictionary<Tensor, int>();
        for (var i = 0; i < nodes.Count; i++)
        {
            foreach (var input in nodes[i].Inputs) last[StorageAssignment.ViewRoot(input)] = i;
        }

        foreach (var root in program.Roots) last[StorageAssignment.ViewRoot(root)] = nodes.Count;
        // Bytes that come alive at a node, and those that are free after it.
        var change = new long[nodes.Count + 2];
        for (var i = 0; i < nodes.Count; i++)
        {
            var node = nodes[i];
            if (node.Op is Leaf) continue;
            for (var k = 0; k < node.Outputs.Count; k++)
            {
                var output = node.Outputs[k];
                if (StorageAssignment.ViewRoot(output) != output || placed.Contains(output)) continue;
                // Written over an input that dies here, it takes that storage over.
                var input = node.Op.InPlaceInput(k);
                var over = input >= 0 ? StorageAssignment.ViewRoot(node.Inputs[input]) : null;
                var starts = over is not null && over.Node.Op is not Leaf && over.Type.Bytes == output.Type.Bytes && last[over] == i ? i + 1 : i;
                var ends = Math.Max(last.GetValueOrDefault(output, i), i) + 1;
                if (starts >= ends) continue;
                change[starts] += output.Type.Bytes;
                change[Math.Min(ends, change.Length - 1)] -= output.Type.Bytes;
            }
        }

        var (live, peak) = (0L, 0L);
        foreach (var bytes in change)
        {
            live += bytes;
            peak = Math.Max(peak, live);
        }

        return peak;
    }
}
