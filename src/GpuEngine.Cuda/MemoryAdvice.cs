using GpuEngine.Core.Plan;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda;

/// <summary>What to say when a plan does not fit: where its memory goes and what to change.</summary>
internal static class MemoryAdvice
{
    public static string For(ExecutionPlan plan, int alignment)
    {
        var classes = plan.PeakBytes(alignment).Where(c => c.Value > 0).OrderByDescending(c => c.Value).Take(3).ToArray();
        var total = plan.PeakBytes(alignment).Values.Sum();
        var list = string.Join(
            ", ", classes.Select(c => $"{c.Key.ToString().ToLowerInvariant()} {OutOfDeviceMemoryException.Size(c.Value)}"));
        return $"The plan '{plan.Program.Name}' needs {OutOfDeviceMemoryException.Size(total)} (most: {list}); use a smaller " +
               "--batch-size or a smaller model, or --precision bf16, --recompute or --checkpoint auto.";
    }
}
