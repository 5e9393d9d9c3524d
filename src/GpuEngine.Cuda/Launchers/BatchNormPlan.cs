using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// How the variants of batch normalisation divide the work: Members blocks share a slice, each having Share positions of it, of which it keeps
/// Resident (whole chunks) in dynamic shared memory. Groups slices are in work at a time; 0 where blocks do not wait for each other. Registers
/// are allotted for Blocks blocks on a multiprocessor.
/// </summary>
internal sealed record BatchNormPlan(ChannelSlices Slices, long Share, int Members, int Groups, long Resident, int Blocks)
{
    /// <summary>Registers hold so many batches of every tensor.</summary>
    private const int MostHeld = 2;

    /// <summary>Up to this size latency decides, and one block per slice is better than whole lines.</summary>
    private const long LatencyBytes = 4 << 20;

    /// <summary>Narrower rows of a slice are moved at about half the memory's speed.</summary>
    private const int LeastRowBytes = 64;

    /// <summary>Blocks of the variant that reads twice: several waves of any device, so that its results do not depend on the device.</summary>
    private const int PieceBlocks = 1056;

    /// <summary>Shared memory that the hardware takes of each block.</summary>
    private const int ReservedShared = 1024;

    /// <summary>Slices that go through their phases one after the other.</summary>
    public long Rounds => (Slices.Slices + Groups - 1) / Groups;

    /// <summary>
    /// The rows of partial results, two numbers per channel, that the blocks of a slice write and the one that merges them reads; none where
    /// a slice has one block.
    /// </summary>
    public Cost Rows => Members == 1 ? default : new Cost(RowBytes, RowBytes, 0);

    /// <summary>What the threads that merge read to have a common shift.</summary>
    public Cost Shifts => Members == 1 ? default : new Cost(Slices.Slices * Slices.Threads * sizeof(float), 0, 0);

    /// <summary>Positions that are read a second time, of each slice.</summary>
    public long Again => Enumerable.Range(0, Members).Sum(m => Math.Max(0, Math.Min(Share, Slices.Positions - m * Share) - Resident));

    /// <summary>Batches of a thread that one block of the small variant holds.</summary>
    public int Held => (int)(Slices.Whole(Share) / Slices.Chunk);

    public LaunchShape Clusters => new(new Dim3((uint)(Slices.Slices * Members)), new Dim3((uint)Slices.Threads))
    {
        Cluster = Members > 1 ? new Dim3((uint)Members) : default,
    };

    /// <summary>Slices times pieces.</summary>
    public LaunchShape Pieces => new(new Dim3((uint)Slices.Slices, (uint)Members), new Dim3((uint)Slices.Threads));

    private long RowBytes => Members * Slices.Channels * 2 * sizeof(float);

    /// <summary>
    /// A group begins when the one so many before it first arrives at its gate, so that not all wait at once: three turns, in each of which
    /// there are blocks enough to use all of the memory. 0: all begin at once.
    /// </summary>
    public int Turns(CudaLimits limits) => Groups > 1 && Members > 1 && Rounds > 1 ? limits.Tuned("turns", (Groups + 2) / 3) : 0;

    /// <summary>Groups of members, all resident.</summary>
    public LaunchShape Cooperative(int tensors) =>
        new(new Dim3((uint)(Groups * Members)), new Dim3((uint)Slices.Threads), (uint)(Resident * Slices.PositionBytes * tensors)) { Cooperative = true };

    /// <summary>One plain launch, a slice in the registers of a cluster; null where it does not fit.</summary>
    public static BatchNormPlan? Small(CudaLimits limits, ChannelSlices[] slicings, bool holdsResidual)
    {
        var held = limits.Tuned("held", holdsResidual ? 1 : MostHeld);
        var most = limits.SupportsClusters ? limits.Tuned("cluster", 8) : 1;
        BatchNormPlan? best = null;
        foreach (var slices in Wanted(limits, slicings))
        {
            var needed = (slices.Positions + slices.Chunk * held - 1) / (slices.Chunk * held);
            var isSlow = slices.Bytes > LatencyBytes && !slices.Planes && slices.PositionBytes < LeastRowBytes && slicings[0] != slices;
            if (needed > most || (isSlow && limits.Tuned("width", 0) == 0)) continue;
            var members = (int)BitOperations.RoundUpToPowerOf2((uint)needed);
            var plan = new BatchNormPlan(slices, slices.Part(members), members, 0, 0, limits.Tuned("blocks", 2));
            if (best is null || (slices.Bytes <= LatencyBytes && members < best.Members)) best = plan;
        }

        return best;
    }

    /// <summary>
    /// One cooperative launch, slices of so many tensors in the shared memory of groups of blocks: the best of all widths and numbers of groups.
    /// Null where the device cannot.
    /// </summary>
    public static BatchNormPlan? OneRead(CudaLimits limits, ChannelSlices[] slicings, int tensors, long floor, int perMultiprocessor)
    {
        perMultiprocessor = limits.Tuned("blocks", perMultiprocessor);
        if (!limits.SupportsCooperativeLaunch || slicings[0].Threads * perMultiprocessor > limits.ThreadsPerMultiprocessor) return null;
        var blocks = Math.Max(1, limits.Multiprocessors - limits.Tuned("margin", 0)) * perMultiprocessor;
        var plans =
            from slices in Wanted(limits, slicings)
            let resident = DynamicShared(limits, slices, perMultiprocessor) / (slices.PositionBytes * tensors) / slices.Chunk * slices.Chunk
            where resident > 0
            from groups in Enumerable.Range(1, (int)Math.Min(blocks, slices.Slices))
            where groups == limits.Tuned("groups", groups)
            let share = slices.Part(blocks / groups)
            let members = (int)((slices.Positions + share - 1) / share)
            select new BatchNormPlan(slices, share, members, groups, Math.Min(resident, slices.Whole(share)), perMultiprocessor);
        return plans.MinBy(p => BatchNormEstimate.OneRead(limits, p, tensors, floor, false));
    }

    /// <summary>Two launches, of blocks that do not wait.</summary>
    public static BatchNormPlan TwoRead(CudaLimits limits, ChannelSlices[] slicings, int blocks)
    {
        var slices = Wanted(limits, slicings)[0];
        var wanted = slices.Positions * slices.Slices / limits.Tuned("piece_blocks", PieceBlocks);
        var share = Math.Max(slices.Whole(wanted), 2 * slices.Chunk);
        return new BatchNormPlan(slices, share, (int)((slices.Positions + share - 1) / share), 0, 0, limits.Tuned("blocks", blocks));
    }

    /// <summary>Dynamic shared memory that each of so many blocks on a multiprocessor can have.</summary>
    public static int DynamicShared(CudaLimits limits, ChannelSlices slices, int blocks)
    {
        // At most what common/slices.cuh and the kernels declare: the exchange, the tables of two slices, flags.
        var fixedBytes = slices.Threads / 32 * (2 * slices.Slots + 1) * sizeof(float) + 12 * slices.Slots * sizeof(float) + 256;
        var own = (limits.SharedBytesPerBlockOptIn + ReservedShared) / blocks - ReservedShared;
        return Math.Max(0, Math.Min(own, limits.SharedBytesPerBlockOptIn) - fixedBytes) / 16 * 16;
    }

    /// <summary>How many batches of a thread may be on their way to shared memory.</summary>
    public static (string Name, string Value) Ahead(CudaLimits limits) => KernelRequest.Define("AHEAD", limits.Tuned("ahead", 4));

    /// <summary>The slicings, or the one whose rows a bench asked for.</summary>
    private static ChannelSlices[] Wanted(CudaLimits limits, ChannelSlices[] slicings)
    {
        var asked = slicings.Where(s => s.Width == limits.Tuned("width", 0)).ToArray();
        return asked.Length > 0 ? asked : slicings;
    }
}
