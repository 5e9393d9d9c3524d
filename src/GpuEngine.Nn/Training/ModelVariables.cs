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
        Slots = [.. placed.Select(p => new ParameterSlot(p.Name, p.Parameter, p.Offset, View(Arena.Value, p.Parameter.Shape, p.Offset)))];
    }

    public string Name { get; }

    /// <summary>False for parameters that weight decay leaves alone.</summary>
    public bool Decays { get; }

    public Variable Arena { get; }

    public IReadOnlyList<ParameterSlot> Slots { get; }

    /// <summary>A parameter's value in another form of the whole arena.</summary>
    internal static Tensor View(Tensor arena, Shape shape, int offset) => F.Reshape(F.Narrow(arena, 0, offset, (int)shape.Elements), shape);

    /// <summary>
    /// The arena once more in the dtype that layers compute in, where training keeps one beside the master: the optimizer writes both. Null
    /// where layers compute with the arena itself.
    /// </summary>
    public Variable? Copy { get; internal set; }

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
    public Trace NewTrace(bool training, DType compute = DType.F32, Tensor? generator = null)
    {
        // One cast of the whole arena is one launch; the parameters are views of its result, or of the copy that training keeps.
        var rounded = compute == DType.F32
            ? []
            : Groups.ToDictionary(g => g, g => training && g.Copy?.Type.DType == compute ? g.Copy.Value : F.Cast(g.Arena.Value, compute));
        return new(training, Value, b => _buffers[b].Value, generator);

        Tensor Value(Parameter parameter, bool master)
        {
            var slot = _slots[parameter];
            return master || compute == DType.F32
                ? slot.View
                : ParameterGroup.View(rounded[Groups.First(g => g.Slots.Contains(slot))], parameter.Shape, slot.Offset);
        }
    }

    /// <summary>Gives every group a <see cref="ParameterGroup.Copy"/>. Whoever writes an arena afterwards must run <see cref="CopyProgram"/>.</summary>
    public void KeepCopies(DType compute)
    {
        foreach (var group in Groups) group.Copy = new Variable($"{group.Name}.{compute.Label()}", compute, group.Arena.Type.Shape, MemoryClass.Weights);
    }

    /// <summary>Makes the copies anew from the arenas; null where there are none.</summary>
    public TensorProgram? CopyProgram() => Groups.All(g => g.Copy is null)
        ? null
        : new TensorProgram(
            "copy_parameters", [],
            [.. Groups.Where(g => g.Copy is not null).Select(g => new VariableUpdate(g.Copy!, F.Cast(g.Arena.Value, g.Copy!.Type.DType)))]);

    /// <summary>
    /// The gradients of a loss by every parameter, in the order of the groups' slots; zeros where it does not depend on one. Those of a group
    /// are in the dtype in which all of its parameters were read, or in f32.
    /// </summary>
    public IReadOnlyList<Tensor> GradientsOf(Tensor loss, Trace trace)
    {
        var used = Groups.SelectMany(g => g.Slots).ToDictionary(s => s, s => trace.Used[s.Parameter].Distinct().ToList());
        var gradients = new Queue<Tensor>(Autodiff.Gradients(loss, [.. used.Values.SelectMany(u => u)]));
        var result = new List<Tensor>();
        foreach (var group in Groups)
        {
            var forms = group.Slots.Select(s => used[s]).ToArray();
            var dtypes = forms.SelectMany(f => f).Select(t => t.DType).Distinct().ToArray();
            // A sum of several forms is made in f32.
            var dtype = dtypes.Length == 1 && forms.All(f => f.Count <= 1) ? dtypes[0] : DType.F32;
            result.AddRange(group.Slots.Zip(forms).Select(p => p.Second.Count == 0
                ? F.Zeros(p.First.Parameter.Shape, dtype)
                : p.Second.Select(_ => F.Cast(gradients.Dequeue(), dtype)).Aggregate((a, b) => a + b)));
        }

        return result;
    }

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
