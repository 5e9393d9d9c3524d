using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>What kernels over windows move: an element that several windows hold is read for each of them, from the cache after the first time.</summary>
internal static class WindowReads
{
    /// <param name="node">The op; all of its inputs are read alike.</param>
    /// <param name="step">Its launch.</param>
    /// <param name="looks">Elements of each input that are read, counted as often as they are.</param>
    public static PlannedKernel Plan(Node node, LaunchStep step, long looks)
    {
        var again = node.Inputs.Sum(t => looks * t.DType.Size() - t.Type.Bytes);
        return new PlannedKernel(node, step) { ExactCost = node.Op.Cost(node) + new Cost(again, 0, 0), RereadBytes = Math.Max(0, again) };
    }
}
