using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>
/// A place for values: a variable's own storage, or a range of the plan's arena of one memory class.
/// </summary>
/// <param name="Variable">The variable, or null for plan storage.</param>
/// <param name="Class">The arena.</param>
/// <param name="Offset">Bytes from the start of the variable or arena.</param>
public readonly record struct Placement(Variable? Variable, MemoryClass Class, long Offset)
{
    public override string ToString() => Variable is null ? $"{Class}+{Offset}" : $"{Variable.Name}+{Offset}";
}

/// <summary>One kernel launch: the node it runs and where its operands lie.</summary>
public sealed record Launch(Node Node, IReadOnlyList<Placement> Inputs, IReadOnlyList<Placement> Outputs, long WorkspaceBytes)
{
    public Cost Cost => Node.Op.Cost(Node);
}

/// <summary>One slice of an arena with the launches between which it must keep its contents.</summary>
public sealed record ArenaSlice(MemoryClass Class, long Offset, long Bytes, int FirstLaunch, int LastLaunch, Tensor Tensor);

/// <summary>
/// An ordered list of launches over arenas with offsets known in advance. Everything about memory is known before anything runs.
/// </summary>
public sealed class ExecutionPlan
{
    internal ExecutionPlan(
        TensorProgram program, IReadOnlyList<Launch> launches, IReadOnlyDictionary<Tensor, Placement> placements,
        IReadOnlyDictionary<MemoryClass, long> arenaBytes, IReadOnlyList<ArenaSlice> slices)
    {
        Program = program;
        Launches = launches;
        Placements = placements;
        ArenaBytes = arenaBytes;
        Slices = slices;
    }

    /// <summary>The program after all passes.</summary>
    public TensorProgram Program { get; }

    public IReadOnlyList<Launch> Launches { get; }

    /// <summary>Where every tensor that is stored lies.</summary>
    public IReadOnlyDictionary<Tensor, Placement> Placements { get; }

    /// <summary>Size of the plan's own arenas. Variables are allocated apart, once for all plans that share them.</summary>
    public IReadOnlyDictionary<MemoryClass, long> ArenaBytes { get; }

    public IReadOnlyList<ArenaSlice> Slices { get; }

    /// <summary>Predicted peak bytes by class: the arenas plus the variables that the program touches.</summary>
    public IReadOnlyDictionary<MemoryClass, long> PeakBytes(int alignment)
    {
        var peak = Enum.GetValues<MemoryClass>().ToDictionary(c => c, c => ArenaBytes.GetValueOrDefault(c));
        foreach (var variable in Program.Variables) peak[variable.MemoryClass] += Aligned(variable.Type.Bytes, alignment);
        return peak;
    }

    /// <summary>Bytes rounded up to the alignment; at least one unit, so that empty tensors have an address too.</summary>
    public static long Aligned(long bytes, int alignment) => Math.Max(1, (bytes + alignment - 1) / alignment) * alignment;
}
