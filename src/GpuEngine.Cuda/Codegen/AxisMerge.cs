using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Codegen;

/// <summary>One operand of a strided walk over an output: elements to move per axis of the output, and where to start.</summary>
internal sealed record StridedView(long[] Strides, long Offset = 0)
{
    /// <summary>A contiguous tensor read under the usual broadcasting rule.</summary>
    public static StridedView Broadcast(Shape from, Shape to)
    {
        var strides = new long[to.Rank];
        var own = from.Strides();
        for (var i = 1; i <= from.Rank; i++) strides[^i] = from[^i] == 1 ? 0 : own[^i];
        return new StridedView(strides);
    }
}

/// <summary>Drops axes of extent 1 and joins neighbours that every operand walks through as one.</summary>
internal static class AxisMerge
{
    public static (long[] Extents, long[][] Strides) Apply(IReadOnlyList<int> shape, IReadOnlyList<long[]> strides)
    {
        var extents = new List<long>();
        var merged = strides.Select(_ => new List<long>()).ToArray();
        for (var axis = 0; axis < shape.Count; axis++)
        {
            if (shape[axis] == 1) continue;
            var joins = extents.Count > 0;
            for (var k = 0; joins && k < merged.Length; k++) joins = merged[k][^1] == strides[k][axis] * shape[axis];
            if (joins) extents[^1] *= shape[axis];
            else extents.Add(shape[axis]);
            for (var k = 0; k < merged.Length; k++)
            {
                if (joins) merged[k][^1] = strides[k][axis];
                else merged[k].Add(strides[k][axis]);
            }
        }

        return ([.. extents], [.. merged.Select(m => m.ToArray())]);
    }
}
