using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>From a program to a plan: passes, then storage, liveness and offsets.</summary>
public static class Planner
{
    public static ExecutionPlan Plan(TensorProgram program, IPlanTarget target)
    {
        var lowered = Lowering.Apply(Simplification.Apply(program), target);
        return new StorageAssignment(target.Rewrite(KeepOldValues(Simplification.Apply(lowered, mergeWidening: !target.WidensBf16))), target).Assign();
    }

    /// <summary>
    /// A result that is the old value of a variable which the same run replaces (two variables that swap, say) must be saved
    /// before the replacement happens.
    /// </summary>
    private static TensorProgram KeepOldValues(TensorProgram program)
    {
        var replaced = program.Updates.Select(u => u.Variable).ToHashSet();
        Tensor Keep(Tensor value, Variable? target) =>
            StorageAssignment.ViewRoot(value).Node.Op is VariableOp { Variable: var source } && source != target && replaced.Contains(source)
                ? new CopyOp().Apply(value).Outputs[0]
                : value;
        return new TensorProgram(
            program.Name,
            [.. program.Outputs.Select(o => o with { Tensor = Keep(o.Tensor, null) })],
            [.. program.Updates.Select(u => u with { Value = Keep(u.Value, u.Variable) })]);
    }
}
