using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// How the variants of batch normalisation divide the work: Members blocks share a slice, each having Share positions of it (whole chunks), of
/// which it keeps Resident in dynamic shared memory. Groups slices are in work at a time; 0 where blocks do not wait for each other. Registers
/// are allotted for Blocks blocks on a multiprocessor.
/// </summary>
internal sealed record BatchNormPlan(ChannelSlices Slices, long Share, int Members, int Groups, long Resident, int Blocks)
{
    /// <summary>Registers hold so many batches of every tensor.</summary>
    private const int MostHeld = 2;

    /// <summary>Up to this size latency decides, and one block per slice is better than whole lines.</summary>
    private const long LatencyBytes = 4 << 20;

    /// <summary>A tensor of which a smaller share than one in so many stays on the device's multiprocessors is read twice outright.</summary>
    private const int LeastResident = 16;

    /// <summary>Blocks of the variant that reads twice: several waves of any device, so that its results do not depend on the device.</summary>
    private const int PieceBlocks = 1056;

    /// <summary>Shared memory that the hardware takes of each block.</summary>
    private const int ReservedShared = 1024;

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
    public int Held => (int)(Share / Slices.Chunk);

    public LaunchShape Clusters => new(new Dim3((uint)(Slices.Slices * Members)), new Dim3((uint)Slices.Threads))
    {
        Cluster = Members > 1 ? new Dim3((uint)Members) : default,
    };

    /// <summary>Groups of members, all resident.</summary>
    public LaunchShape Cooperative(int tensors) =>
        new(new Dim3((uint)(Groups * Members)), new Dim3((uint)Slices.Threads), (uint)(Resident * Slices.PositionBytes * tensors)) { Cooperative = true };

    /// <summary>Slices times pieces.</summary>
    public LaunchShape Pieces => new(new Dim3((uint)Slices.Slices, (uint)Members), new Dim3((uint)Slices.Threads));

    /// <summary>One plain launch, a slice in the registers of a cluster; null where it does not fit.</summary>
    public static BatchNormPlan? Small(CudaLimits limits, ChannelSlices[] slicings, int held)
    {
        var most = limits.SupportsClusters ? limits.Tuned("cluster", 8) : 1;
        BatchNormPlan? best = null;
        foreach (var slices in Wanted(limits, slicings))
        {
            var needed = (slices.Positions + slices.Chunk * held - 1) / (slices.Chunk * held);
            if (needed > most) continue;
            var members = (int)BitOperations.RoundUpToPowerOf2((uint)needed);
            var plan = new BatchNormPlan(slices, slices.Whole((slices.Positions + members - 1) / members), members, 0, 0, limits.Tuned("blocks", 2));
            if (best is null || (slices.Bytes <= LatencyBytes && members < best.Members)) best = plan;
        }

        return best;
    }

    /// <inheritdoc cref="Small(CudaLimits, ChannelSlices[], int)"/>
    public static BatchNormPlan? Small(CudaLimits limits, ChannelSlices[] slicings, bool holdsResidual) =>
        Small(limits, slicings, limits.Tuned("held", holdsResidual ? 1 : MostHeld));

    /// <summary>
    /// One cooperative launch, slices in the shared memory of groups of blocks. Null where the device cannot, or so little would stay that
    /// it is not worth its waiting, unless <paramref name="asked"/>.
    /// </summary>
    public static BatchNormPlan? OneRead(CudaLimits limits, ChannelSlices[] slicings, int tensors, bool asked)
    {
        if (!limits.SupportsCooperativeLaunch) return null;
        var perMultiprocessor = limits.Tuned("blocks", 2);
        var blocks = Math.Max(1, limits.Multiprocessors - limits.Tuned("margin", 0)) * perMultiprocessor;
        BatchNormPlan? best = null;
        foreach (var slices in Wanted(limits, slicings))
        {
            if (slices.Threads * perMultiprocessor > limits.ThreadsPerMultiprocessor) return null;
            var resident = DynamicShared(limits, slices, perMultiprocessor) / (slices.PositionBytes * tensors) / slices.Chunk * slices.Chunk;
            if (resident == 0) continue;
            var plan = Fill(limits, slices, blocks, resident, perMultiprocessor);
            if (!asked && plan.Again > (LeastResident - 1) * slices.Positions / LeastResident) continue;
            if (best is null || IsBetter(limits, plan, best, tensors)) best = plan;
        }

        return best;
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

    private long RowBytes => Members * Slices.Channels * 2 * sizeof(float);

    private static BatchNormPlan Fill(CudaLimits limits, ChannelSlices slices, int blocks, long resident, int perMultiprocessor)
    {
        var fitting = (slices.Positions + resident - 1) / resident;
        var groups = (int)Math.Clamp(blocks / fitting, 1, slices.Slices);
        // As many rounds with fewer groups, so that each has more blocks.
        var rounds = (slices.Slices + groups - 1) / groups;
        groups = limits.Tuned("groups", (int)((slices.Slices + rounds - 1) / rounds));
        var share = slices.Whole((slices.Positions + blocks / groups - 1) / (blocks / groups));
        var members = (int)((slices.Positions + share - 1) / share);
        return new BatchNormPlan(slices, share, members, groups, Math.Min(resident, share), perMultiprocessor);
    }

    /// <summary>
    /// Whether rows half as wide are worth it: where much was read again, and then at most half of it is, from the L2 cache; or where one
    /// group then works while another waits. Single sectors never are: memory moves half as much of them.
    /// </summary>
    private static bool IsBetter(CudaLimits limits, BatchNormPlan narrow, BatchNormPlan wide, int tensors)
    {
        if (narrow.Slices.PositionBytes < 64) return false;
        long Left(BatchNormPlan p) => p.Again * p.Slices.PositionBytes * tensors;
        if (Left(wide) > limits.L2Bytes / 4) return Left(narrow) <= Math.Min(Left(wide), limits.L2Bytes + (limits.L2Bytes >> 3)) / 2;
        return Left(wide) == 0 && Left(narrow) == 0 && wide.Groups == 1 && wide.Slices.Slices > 1 && narrow.Groups > 1;
    }

    /// <summary>The slicings, or the one whose rows a bench asked for.</summary>
    private static ChannelSlices[] Wanted(CudaLimits limits, ChannelSlices[] slicings)
    {
        var asked = slicings.Where(s => s.Width == limits.Tuned("width", 0)).ToArray();
        return asked.Length > 0 ? asked : slicings;
    }
}
