using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>
/// Offsets by "greedy by size" (Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", section 5):
/// the largest block first, each at the lowest offset that is free during its whole life.
/// </summary>
internal static class OffsetAssignment
{
    public static Dictionary<MemoryClass, long> Assign(IReadOnlyList<StorageBlock> blocks, int alignment)
    {
        var sizes = new Dictionary<MemoryClass, long>();
        foreach (var arena in blocks.GroupBy(b => b.Class))
        {
            var placed = new List<StorageBlock>();
            var end = 0L;
            foreach (var block in arena.OrderByDescending(b => b.Bytes).ThenBy(b => b.First).ThenBy(b => b.Owner.Node.Id).ThenBy(b => b.Owner.Index))
            {
                block.Offset = LowestFree(block, placed, alignment);
                // Kept sorted by offset, which is the order LowestFree walks in.
                var at = placed.FindIndex(p => p.Offset > block.Offset);
                placed.Insert(at < 0 ? placed.Count : at, block);
                end = Math.Max(end, block.Offset + ExecutionPlan.Aligned(block.Bytes, alignment));
            }

            sizes[arena.Key] = end;
        }

        return sizes;
    }

    private static long LowestFree(StorageBlock block, List<StorageBlock> placed, int alignment)
    {
        var size = ExecutionPlan.Aligned(block.Bytes, alignment);
        var offset = 0L;
        foreach (var other in placed)
        {
            if (other.Last < block.First || block.Last < other.First) continue;
            if (other.Offset >= offset + size) break;
            offset = Math.Max(offset, other.Offset + ExecutionPlan.Aligned(other.Bytes, alignment));
        }

        return offset;
    }
}
