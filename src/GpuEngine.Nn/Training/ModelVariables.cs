using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Nn.Layers;

namespace GpuEngine.Nn.Training;

/// <summary>Where a parameter lies in its group's arena.</summary>
/// <param name="Name">Its full name in the model.</param>
/// <param name="Parameter">The parameter.</param>
/// <param name="Offset">Its first element.</param>
/// <param name="View">Its value: a view of the arena.</param>
public sealed record ParameterSlot(string Name, Parameter Parameter, int Offset, Tensor View);

/// <summary>
/// Parameters that share the optimizer's options, in one flat arena: the optimizer step is one launch over it, and gradients
/// and moments have the same layout.
/// </summary>
public sealed class ParameterGroup
{
    /// <summary>Parameters start at multiples of this, so that every one starts a cache line.</summary>
    private const int AlignmentElements = 16;

    internal ParameterGroup(string name, bool decays, IEnumerable<(string Name, Parameter Parameter)> parameters)
    {
        (Name, Decays) = (name, decays);
        var placed = new List<(string Name, Parameter Parameter, int Offset)>();
        var length = 0;
        foreach (var (fullName, parameter) in parameters)
        {
            placed.Add((fullName, parameter, length));
            length = checked((length + (int)parameter.Shape.Elements + AlignmentElements - 1) / AlignmentElements * AlignmentElements);
        }

        Arena = new Variable(name, DType.F32, [length], MemoryClass.Weights);
        Slots =
        [
            .. placed.Select(p => new ParameterSlot(
                p.Name, p.Parameter, p.Offset,
                F.Reshape(F.Narrow(Arena.Value, 0, p.Offset, (int)p.Parameter.Shape.Elements), p.Parameter.Shape))),
        ];
    }

    public string Name { get; }

    /// <summary>False for parameters that weight decay leaves alone.</summary>
    public bool Decays { get; }

    public Variable Arena { get; }

    public IReadOnlyList<ParameterSlot> Slots { get; }

    /// <summary>Lays tensors of the parameters' shapes out as the arena is.</summary>
    public Tensor Pack(IReadOnlyList<Tensor> tensors) => F.Pack(tensors, Slots.Select(s => s.Offset).ToArray(), Arena.Type.Shape[0]);
}

/// <summary>The variables of a model: flat arenas of parameters, and one variable per buffer.</summary>
public sealed class ModelVariables
{
    private readonly Dictionary<Parameter, ParameterSlot> _slots = [];
    private readonly Dictionary<ModuleBuffer, Variable> _buffers = [];

    public ModelVariables(Module model)
    {
        Model = model;
        var all = model.Parameters().ToList();
        Groups =
        [
            .. all.GroupBy(p => p.Parameter.Decays).OrderByDescending(g => g.Key)
                .Select(g => new ParameterGroup(g.Key ? "weights" : "weights_no_decay", g.Key, g)),
        ];
        foreach (var slot in Groups.SelectMany(g => g.Slots)) _slots.Add(slot.Parameter, slot);
        Slots = [.. all.Select(p => _slots[p.Parameter])];
        Buffers = [.. model.Buffers().Select(b => (b.Name, b.Buffer, new Variable(b.Name, DType.F32, b.Buffer.Shape, MemoryClass.Weights)))];
        foreach (var (_, buffer, variable) in Buffers) _buffers.Add(buffer, variable);
    }

    public Module Model { get; }

    public IReadOnlyList<ParameterGroup> Groups { get; }

    /// <summary>All parameters in the model's order.</summary>
    public IReadOnlyList<ParameterSlot> Slots { get; }

    public IReadOnlyList<(string Name, ModuleBuffer Buffer, Variable Variable)> Buffers { get; }

    /// <summary>A recording of the model over these variables.</summary>
    /// <param name="training">Whether layers behave as in training.</param>
    /// <param name="compute">The dtype that parameters are cast to before they are used; f32 leaves them as they are.</param>
    /// <param name="generator">State of the random generator, needed by dropout in training.</param>
    public Trace NewTrace(bool training, DType compute = DType.F32, Tensor? generator = null) =>
        new(training, p => F.Cast(_slots[p].View, compute), b => _buffers[b].Value, generator);

    /// <summary>What the recording wants to be replaced.</summary>
    public IEnumerable<VariableUpdate> Updates(Trace trace) => trace.Updates.Select(u => new VariableUpdate(_buffers[u.Key], u.Value));

    /// <summary>Fills parameters from their initialisers (a stream per parameter, so one does not depend on another) and buffers.</summary>
    public void Initialize(IVariableStore store, ulong seed)
    {
        foreach (var group in Groups)
        {
            var arena = new float[group.Arena.Type.Elements];
            foreach (var slot in group.Slots)
            {
                var stream = (uint)Slots.Index().First(s => s.Item == slot).Index;
                slot.Parameter.Init.Fill(arena.AsSpan(slot.Offset, (int)slot.Parameter.Shape.Elements), slot.Parameter.Shape, seed, stream);
            }

            store.Write<float>(group.Arena, arena);
        }

        foreach (var (_, buffer, variable) in Buffers)
        {
            var values = new float[variable.Type.Elements];
            values.AsSpan().Fill((float)buffer.Start);
            store.Write<float>(variable, values);
        }
    }

    /// <summary>Copies of all parameters and buffers by name.</summary>
    public IEnumerable<(string Name, Shape Shape, float[] Values)> Read(IVariableStore store) =>
        Groups.SelectMany(g => Slice(g, store.ReadArray<float>(g.Arena)))
            .Concat(Buffers.Select(b => (b.Name, b.Variable.Type.Shape, store.ReadArray<float>(b.Variable))));

    /// <summary>One value per parameter from an arena of a group's layout (weights, a gradient, a moment).</summary>
    public static IEnumerable<(string Name, Shape Shape, float[] Values)> Slice(ParameterGroup group, float[] arena) =>
        group.Slots.Select(s => (s.Name, s.Parameter.Shape, arena.AsSpan(s.Offset, (int)s.Parameter.Shape.Elements).ToArray()));

    /// <summary>The arena that <see cref="Slice"/> takes apart.</summary>
    public static float[] Join(ParameterGroup group, Func<ParameterSlot, float[]> values)
    {
        var arena = new float[group.Arena.Type.Elements];
        foreach (var slot in group.Slots) values(slot).CopyTo(arena.AsSpan(slot.Offset));
        return arena;
    }
}
