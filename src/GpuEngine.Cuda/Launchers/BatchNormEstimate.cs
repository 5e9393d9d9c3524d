namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// What plans of batch normalisation cost, in bytes of device memory moved in the same time: enough to choose between them. The constants
/// are estimates for a device of four bytes per picosecond (H200), but for <see cref="WithResidual"/>, which was measured on one.
/// </summary>
internal static class BatchNormEstimate
{
    /// <summary>All blocks wait: partial results out, merged, back. About 6 microseconds.</summary>
    private const double Gate = 24e6;

    /// <summary>What is left of it where other groups have the memory meanwhile.</summary>
    private const double HiddenGate = 3e6;

    /// <summary>A second launch that waits for the first to end. About 4 microseconds.</summary>
    private const double Launch = 16e6;

    /// <summary>A byte that comes from the L2 cache in place of memory.</summary>
    private const double Hit = 0.5;

    /// <summary>The share of the L2 cache that holds what was read before, while results stream through it.</summary>
    private const double L2Share = 0.5;

    /// <summary>Rows of 64 bytes: the other half of a line is written by a group that works beside, or in a later round.</summary>
    private const double HalfLinesTogether = 1.03;
    private const double HalfLinesApart = 1.1;

    /// <summary>Rows of a sector.</summary>
    private const double Sectors = 1.8;

    /// <summary>
    /// Where a residual is read or its gradient written, the variant that reads once moves its bytes at about 2.1 TB/s and the one that reads
    /// twice at 3.4 (bench/FACTS.md).
    /// </summary>
    private const double WithResidual = 1.65;

    /// <summary>A plan of the variant that reads once; <paramref name="floor"/> is what it moves if everything fits.</summary>
    public static double OneRead(CudaLimits limits, BatchNormPlan plan, int tensors, long floor, bool residual)
    {
        var slices = plan.Slices;
        var again = (double)plan.Again * slices.PositionBytes * tensors;
        var traffic = (floor + Again(limits, again * slices.Slices, again * plan.Groups)) * (residual ? WithResidual : 1);
        var rows = slices.Planes || slices.PositionBytes >= 128 ? 1 : slices.PositionBytes < 64 ? Sectors : plan.Groups > 1 ? HalfLinesTogether : HalfLinesApart;
        // What each block does, over what it would do if nothing were left over.
        var blocks = Math.Max(1, limits.Multiprocessors - limits.Tuned("margin", 0)) * plan.Blocks;
        var balance = (double)plan.Rounds * Math.Min(plan.Share, slices.Positions) * blocks / ((double)slices.Slices * slices.Positions);
        var gates = plan.Members == 1 ? 0 : plan.Turns(limits) > 0 ? plan.Rounds * HiddenGate + Gate : plan.Rounds * Gate;
        return traffic * rows * Math.Max(1, balance) + gates;
    }

    /// <summary>The variant that reads <paramref name="bytes"/> twice.</summary>
    public static double TwoRead(CudaLimits limits, long bytes, long floor) => floor + Again(limits, bytes, bytes) + Launch;

    /// <summary>Bytes read again, of which so many are in work at a time.</summary>
    private static double Again(CudaLimits limits, double bytes, double inWork)
    {
        var hits = inWork <= 0 ? 1 : Math.Min(1, L2Share * limits.L2Bytes / inWork);
        return bytes * (1 - hits + hits * Hit);
    }
}
