namespace GpuEngine.Core.Graph;

/// <summary>What the adaptive pools share: their windows and their attribute.</summary>
internal static class AdaptivePool
{
    /// <summary>The output size that keeps the input's extent: torch's None.</summary>
    public const int AsInput = -1;

    /// <summary>The attribute output_size, in which null keeps an axis as it is.</summary>
    public static SpatialPair OutputSize(OpCall call) => SpatialPair.Of(call.PartialPair("output_size", AsInput));

    public static PoolWindow[] Windows(int count, int input)
    {
        if (count == AsInput) count = input;
        var windows = new PoolWindow[count];
        for (var i = 0L; i < count; i++)
        {
            var (start, end) = ((int)(i * input / count), (int)(((i + 1) * input + count - 1) / count));
            windows[i] = new(start, end, end - start);
        }

        return windows;
    }

    public static void Check(string name, Ints outputSize, Shape input)
    {
        if (outputSize.Any(size => size < AsInput))
            throw new ShapeException($"{name}: output_size {outputSize} must not be negative.");
        if (input[1] == 0 || input[2] == 0 || input[3] == 0)
            throw new ShapeException($"{name}: the input {input} has no elements outside the batch axis.");
    }
}
