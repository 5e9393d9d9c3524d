using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>
/// Gives every value a place. Views share their source's storage; an op may write over an input that dies with it; the parts
/// of a packed arena are produced where they belong; a variable's new value is produced in the variable where that is safe.
/// The rest is laid out by liveness.
/// </summary>
internal sealed class StorageAssignment
{
    private readonly TensorProgram _program;
    private readonly IPlanTarget _target;
    private readonly IReadOnlyList<Node> _order;
    private readonly Dictionary<Tensor, StorageBlock> _blocks = [];
    private readonly Dictionary<Tensor, long> _offsets = [];
    private readonly Dictionary<Node, int> _time = [];
    private readonly Dictionary<Tensor, int> _lastRead = [];
    private readonly Dictionary<Tensor, List<Tensor>> _views = [];
    private readonly Dictionary<Tensor, (StorageBlock Block, long Offset)> _packed = [];
    private readonly Dictionary<Tensor, Variable> _updates;
    private readonly HashSet<Variable> _read;
    private readonly HashSet<Tensor> _results;

    public StorageAssignment(TensorProgram program, IPlanTarget target)
    {
        _program = program;
        _target = target;
        _order = program.Nodes;
        _updates = program.Updates.DistinctBy(u => u.Value).ToDictionary(u => u.Value, u => u.Variable);
        _read = [.. _order.Select(n => n.Op).OfType<VariableOp>().Select(v => v.Variable)];
        _results = [.. program.Outputs.Select(o => Source(o.Tensor))];
        for (var i = 0; i < _order.Count; i++) _time[_order[i]] = i;
    }

    public ExecutionPlan Assign()
    {
        IndexReads();
        ReservePacks();
        foreach (var node in _order) Place(node);
        foreach (var (tensor, block) in _blocks)
        {
            // Inputs are written before the first launch; constants once, when the plan is loaded: both keep their place throughout.
            if (tensor.Node.Op is Leaf) block.Touch(0, _order.Count);
            else block.Touch(_time[tensor.Node], _lastRead.GetValueOrDefault(tensor, _time[tensor.Node]));
        }

        var blocks = _blocks.Values.Distinct().Where(b => b.Variable is null).ToList();
        var arenaBytes = OffsetAssignment.Assign(blocks, _target.Alignment);
        var placements = _blocks.ToDictionary(p => p.Key, p => new Placement(p.Value.Variable, p.Value.Class, p.Value.Offset + _offsets[p.Key]));
        var launches = Launches(placements);
        var workspace = launches.Count == 0 ? 0 : launches.Max(l => l.WorkspaceBytes);
        if (workspace > 0) arenaBytes[MemoryClass.Workspace] = ExecutionPlan.Aligned(workspace, _target.Alignment);
        var before = LaunchesBefore(launches);
        var slices = blocks.Select(b => new ArenaSlice(b.Class, b.Offset, b.Bytes, before[b.First], LastLaunch(b, before, launches.Count), b.Owner))
            .OrderBy(s => s.FirstLaunch).ToList();
        return new ExecutionPlan(_program, launches, placements, arenaBytes, slices);
    }

    /// <summary>The tensor whose storage a chain of whole-tensor views shows.</summary>
    internal static Tensor ViewRoot(Tensor tensor)
    {
        while (tensor.Node.Op is ReshapeOp or DetachOp or IdentityOp) tensor = tensor.Node.Inputs[0];
        return tensor;
    }

    /// <summary>The tensor in whose storage a chain of views of any kind lies.</summary>
    private static Tensor Source(Tensor tensor)
    {
        while (IsView(tensor.Node)) tensor = tensor.Node.Inputs[0];
        return tensor;
    }

    private static bool IsView(Node node) => node.Op is ReshapeOp or DetachOp or IdentityOp || SliceOffset(node) is not null;

    /// <summary>The byte offset of a slice that is one contiguous range of its input, else null.</summary>
    private static long? SliceOffset(Node node)
    {
        if (node.Op is not SliceOp slice) return null;
        var shape = node.Inputs[0].Shape;
        var strides = shape.Strides();
        var (offset, cut) = (0L, false);
        // From the outermost axis on: until one axis has more than one element left, anything goes; after it, only whole axes.
        for (var axis = 0; axis < shape.Rank; axis++)
        {
            if (cut && slice.Sizes[axis] != shape[axis]) return null;
            if (slice.Sizes[axis] > 1 && slice.Steps[axis] != 1) return null;
            if (slice.Sizes[axis] > 1) cut = true;
            offset += slice.Starts[axis] * strides[axis];
        }

        return offset * node.Inputs[0].DType.Size();
    }

    /// <summary>For each node, and for the end, how many launches come before it: views and leaves are nodes without one.</summary>
    private int[] LaunchesBefore(List<Launch> launches)
    {
        var launched = launches.Select(l => l.Node).ToHashSet();
        var before = new int[_order.Count + 1];
        for (var i = 0; i < _order.Count; i++) before[i + 1] = before[i] + (launched.Contains(_order[i]) ? 1 : 0);
        return before;
    }

    private int LastLaunch(StorageBlock block, int[] before, int launches) =>
        block.Last >= _order.Count ? launches : Math.Max(before[block.First], before[block.Last + 1] - 1);

    private List<Launch> Launches(Dictionary<Tensor, Placement> placements)
    {
        var launches = new List<Launch>();
        foreach (var node in _order)
        {
            if (IsView(node) || node.Op is InputOp or VariableOp || IsPackedInPlace(node)) continue;
            launches.Add(new Launch(
                node, [.. node.Inputs.Select(t => placements[t])], [.. node.Outputs.Select(t => placements[t])], _target.WorkspaceBytes(node)));
        }

        foreach (var update in _program.Updates)
        {
            if (placements[update.Value] == new Placement(update.Variable, update.Variable.MemoryClass, 0)) continue;
            var copy = new CopyOp().Apply(update.Value);
            var place = new Placement(update.Variable, update.Variable.MemoryClass, 0);
            launches.Add(new Launch(copy, [placements[update.Value]], [place], _target.WorkspaceBytes(copy)));
        }

        return launches;
    }

    private bool IsPackedInPlace(Node node) =>
        node.Op is PackOp pack && node.Inputs.Select((t, i) => (t, i)).All(p =>
            _blocks[p.t] == _blocks[node.Outputs[0]] && _offsets[p.t] == (long)pack.Offsets[p.i] * p.t.DType.Size());

    private void IndexReads()
    {
        foreach (var node in _order)
        {
            foreach (var input in node.Inputs) _lastRead[input] = _time[node];
            if (!IsView(node)) continue;
            if (!_views.TryGetValue(node.Inputs[0], out var list)) _views[node.Inputs[0]] = list = [];
            list.Add(node.Outputs[0]);
        }

        // Results, and values copied into variables after the last launch, live to the end.
        foreach (var root in _program.Roots) _lastRead[root] = _order.Count;
    }

    /// <summary>Values that are packed once and made by a kernel of their own are produced in the pack's arena.</summary>
    private void ReservePacks()
    {
        foreach (var node in _order.Where(n => n.Op is PackOp))
        {
            var block = new StorageBlock(MemoryClass.Gradients, node.Outputs[0]);
            // Gaps between the parts are zeroed once, when the arena is allocated, so nobody else may ever use the space.
            block.Touch(0, _order.Count);
            _packed[node.Outputs[0]] = (block, 0);
            for (var i = 0; i < node.Inputs.Count; i++)
            {
                var root = ViewRoot(node.Inputs[i]);
                if (root.Node.Op is Leaf or PackOp or SliceOp) continue;
                _packed.TryAdd(root, (block, (long)((PackOp)node.Op).Offsets[i] * root.DType.Size()));
            }
        }
    }

    private void Place(Node node)
    {
        if (node.Op is VariableOp variable)
        {
            Bind(node.Outputs[0], new StorageBlock(variable.Variable, node.Outputs[0]), 0);
            return;
        }

        if (IsView(node))
        {
            var source = node.Inputs[0];
            Bind(node.Outputs[0], _blocks[source], _offsets[source] + (SliceOffset(node) ?? 0));
            return;
        }

        for (var i = 0; i < node.Outputs.Count; i++) PlaceOutput(node, i);
    }

    private void PlaceOutput(Node node, int index)
    {
        var output = node.Outputs[index];
        if (_packed.TryGetValue(output, out var packed))
        {
            Bind(output, packed.Block, packed.Offset);
            return;
        }

        var input = node.Op.InPlaceInput(index);
        if (input >= 0 && MayOverwrite(node, node.Inputs[input], output))
        {
            Bind(output, _blocks[node.Inputs[input]], _offsets[node.Inputs[input]]);
            return;
        }

        if (Replaced(node, output) is { } place)
        {
            Bind(output, place, 0);
            return;
        }

        // What is there before a run or read after it: activations are shared with other plans, which run in between.
        var lasts = node.Op is Leaf || _results.Contains(output);
        Bind(output, new StorageBlock(lasts ? MemoryClass.Inputs : MemoryClass.Activations, output), 0);
    }

    /// <summary>The storage of the variable whose new value this is, where the old one has been read for the last time or nobody reads it.</summary>
    private StorageBlock? Replaced(Node node, Tensor output)
    {
        if (node.Op is Leaf || !_updates.TryGetValue(output, out var variable)) return null;
        if (!_read.Contains(variable)) return new StorageBlock(variable, output);
        var block = _blocks.Values.FirstOrDefault(b => b.Variable == variable);
        // Read by this very node it would have to say that it may lie there (InPlaceInput).
        return block is not null && block.Bytes == output.Type.Bytes && LastRead(block) < _time[node] ? block : null;
    }

    private bool MayOverwrite(Node node, Tensor input, Tensor output)
    {
        var block = _blocks[input];
        if (block.Bytes != output.Type.Bytes || _offsets[input] != 0 || LastRead(block) > _time[node]) return false;
        // Read through two inputs, the storage is no longer read element by element in one order.
        if (node.Inputs.Count(t => _blocks[t] == block) > 1) return false;
        if (block.Variable is { } variable) return _updates.GetValueOrDefault(output) == variable;
        return block.Class == MemoryClass.Activations && !_results.Contains(output);
    }

    private int LastRead(StorageBlock block) => block.Tensors.Max(LastRead);

    /// <summary>The last read of a tensor or of any view of it, made already or not.</summary>
    private int LastRead(Tensor tensor)
    {
        var last = _lastRead.GetValueOrDefault(tensor, -1);
        foreach (var view in _views.GetValueOrDefault(tensor, [])) last = Math.Max(last, LastRead(view));
        return last;
    }

    private void Bind(Tensor tensor, StorageBlock block, long offset)
    {
        _blocks[tensor] = block;
        _offsets[tensor] = offset;
        block.Tensors.Add(tensor);
    }
}
