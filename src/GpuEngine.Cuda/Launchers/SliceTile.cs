using System.Numerics;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>The groups of a norm with the channels last: [Batch, Positions, Channels], groups of GroupChannels.</summary>
/// <param name="Batch">Samples.</param>
/// <param name="Positions">Places of a sample.</param>
/// <param name="Channels">Channels of a place.</param>
/// <param name="GroupChannels">Channels of a group.</param>
/// <param name="Vector">Elements of one access; it divides the channels.</param>
/// <param name="ElementSize">Bytes of an element.</param>
/// <param name="Tensors">Tensors that are kept: x, or dy and x.</param>
/// <param name="ChannelSums">Whether sums are gathered per channel: backward.</param>
internal sealed record SliceShape(
    long Batch, long Positions, int Channels, int GroupChannels, int Vector, int ElementSize, int Tensors, bool ChannelSums);

/// <summary>How threads share a norm with the channels last (kernels/common/group_slices.cuh).</summary>
internal sealed record SliceTile(SliceShape Of)
{
    private const int SharedPerMultiprocessor = 227 * 1024;
    private const int FreeSharedBytes = 48 * 1024;

    private const int RegistersPerMultiprocessor = 65536;

    /// <summary>Where reading once moves as much, in whole sectors, as reading twice in wider runs.</summary>
    private const double TooNarrow = 2.5;

    /// <summary>Shared variables of a kernel beside its sums.</summary>
    private const int OtherSharedBytes = 4096;

    /// <summary>Neighbouring vectors of a slice.</summary>
    public int Columns { get; init; }

    public int Threads { get; init; }

    /// <summary>Blocks that share a slice.</summary>
    public int Cluster { get; init; } = 1;

    /// <summary>Vectors that a thread loads at once where it does not copy ahead.</summary>
    public int Chunk { get; init; } = 4;

    /// <summary>Blocks that one multiprocessor runs at a time.</summary>
    public int Blocks { get; init; } = 1;

    /// <summary>Parts of a slice, where it is read twice.</summary>
    public int Parts { get; init; } = 1;

    /// <summary>Channels of a slice.</summary>
    public int Channels => Columns * Of.Vector;

    /// <summary>Slices of all samples.</summary>
    public long Slices => Of.Batch * (Of.Channels / Channels);

    /// <summary>Positions of a block of a cluster.</summary>
    public long Piece => CeilDiv(Of.Positions, Cluster);

    /// <summary>Positions of a part.</summary>
    public long PartPiece => CeilDiv(Of.Positions, Parts);

    /// <summary>Dynamic shared memory of a block.</summary>
    public long SharedBytes => Steps * Threads * Of.Vector * Of.ElementSize * Of.Tensors;

    /// <summary>What the function asks for: together with the kernel's own variables it may pass the limit that needs no asking.</summary>
    public int AskedSharedBytes => (int)(SharedBytes + SumBytes <= FreeSharedBytes ? SharedBytes : Math.Max(SharedBytes, FreeSharedBytes + 16));

    public LaunchShape Whole => new(new Dim3((uint)(Slices * Cluster)), new Dim3((uint)Threads), (uint)SharedBytes)
    {
        Cluster = Cluster > 1 ? new Dim3((uint)Cluster) : default,
    };

    /// <summary>Slices times parts.</summary>
    public LaunchShape Divided => new(new Dim3((uint)Slices, (uint)Parts), new Dim3((uint)Threads));

    private int Lanes => Threads / Columns;

    /// <summary>Shared variables of the kernel, most of them sums on their way from lanes to groups.</summary>
    private int SumBytes
    {
        get
        {
            var rows = BitOperations.IsPow2(Columns) && Columns <= 32 ? Threads / 32 : Lanes;
            var apart = Of.GroupChannels % Of.Vector != 0 && Of.Vector % Of.GroupChannels != 0;
            var bins = Of.ChannelSums || apart ? Of.Vector : Math.Max(1, Of.Vector / Of.GroupChannels);
            return (rows * ((2 * Columns * bins) + 32) * sizeof(float)) + (Channels * 4 * sizeof(float)) + (Channels / Of.GroupChannels * (48 + (16 * Cluster))) + OtherSharedBytes;
        }
    }

    /// <summary>The constants of the mapping.</summary>
    public (string, string)[] Defines =>
    [
        KernelRequest.Define("VECTOR", Of.Vector), KernelRequest.Define("THREADS", Threads), KernelRequest.Define("BLOCKS", Blocks),
        KernelRequest.Define("COLUMNS", Columns), KernelRequest.Define("GROUP_CHANNELS", Of.GroupChannels), KernelRequest.Define("CLUSTER", Cluster),
        KernelRequest.Define("CHUNK", Chunk),
    ];

    /// <summary>The tile of the kernels that read once; null where no slice of whole groups fits into a cluster's shared memory.</summary>
    public static SliceTile? Held(SliceShape shape, CudaLimits limits)
    {
        var best = Candidates(shape, limits, limits.SupportsClusters ? 8 : 1)
            .Where(t => t.SharedBytes + t.SumBytes <= limits.SharedBytesPerBlockOptIn && t.Narrowness() < TooNarrow)
            .MinBy(t => t.Narrowness() + t.Crowding(limits));
        if (best is null) return null;
        limits.Tuned("cluster", best.Cluster);
        return best.Told(limits) with { Blocks = limits.Tuned("blocks", best.Resident) };
    }

    /// <summary>The tile of the kernels that read twice; null where the channels do not fall into slices.</summary>
    public static SliceTile? Streamed(SliceShape shape, CudaLimits limits)
    {
        var best = Candidates(shape, limits, 1).MinBy(t => t.Narrowness() + (0.2 * Math.Abs(Math.Log2(t.Threads / 256.0))));
        if (best is null) return null;
        var wanted = CeilDiv(limits.Multiprocessors * 8L, best.Slices);
        var most = CeilDiv(shape.Positions, best.Lanes * 8L);
        return best.Told(limits) with
        {
            Blocks = 3,
            Chunk = limits.Tuned("chunk", shape.Tensors == 1 ? 8 : 4),
            Parts = limits.Tuned("parts", (int)Math.Clamp(wanted, 1, Math.Min(most, 4096))),
        };
    }

    private static IEnumerable<SliceTile> Candidates(SliceShape shape, CudaLimits limits, int mostCluster)
    {
        var tuning = limits.Tuning;
        var groups = shape.Channels / shape.GroupChannels;
        for (var many = 1; many <= groups; many++)
        {
            var channels = many * shape.GroupChannels;
            if (groups % many != 0 || channels % shape.Vector != 0) continue;
            var columns = channels / shape.Vector;
            if (tuning.GetValueOrDefault("columns", columns) != columns) continue;
            foreach (var threads in new[] { 128, 256, 512 })
            {
                if (columns > threads || tuning.GetValueOrDefault("threads", threads) != threads) continue;
                for (var cluster = 1; cluster <= mostCluster; cluster *= 2)
                {
                    var tile = new SliceTile(shape) { Columns = columns, Threads = threads, Cluster = cluster };
                    // Too few steps for a block of its own are done sooner by one.
                    var wanted = mostCluster == 1 ? 0 : tuning.GetValueOrDefault("cluster");
                    if (wanted > 0 ? cluster != wanted : cluster > 1 && tile.Steps < 4) continue;
                    if (tile.SumBytes <= FreeSharedBytes) yield return tile;
                }
            }
        }
    }

    /// <summary>Candidates were chosen among; here the choice is told to who asks for it.</summary>
    private SliceTile Told(CudaLimits limits)
    {
        limits.Tuned("columns", Columns);
        limits.Tuned("threads", Threads);
        return this;
    }

    private static long CeilDiv(long a, long b) => (a + b - 1) / b;

    private long Steps => CeilDiv(Piece, Lanes);

    private int Resident =>
        (int)Math.Clamp(SharedPerMultiprocessor / (SharedBytes + SumBytes + 1024), 1, RegistersPerMultiprocessor / (Threads * (Of.ChannelSums ? 96 : 64)));

    /// <summary>What speaks against runs of this many bytes, in no unit: part of a sector or a line is moved for nothing, lanes idle.</summary>
    private double Narrowness()
    {
        var run = (double)Channels * Of.ElementSize;
        var idle = 1 - ((double)(Lanes * Columns) / Threads);
        if (Channels == Of.Channels) return idle;
        var sectors = run % 32 == 0 ? 0 : 32 / run;
        return idle + (4 * sectors) + (run >= 128 ? 0 : run >= 64 ? 0.8 : 3) + (run % 128 == 0 ? 0 : 0.3);
    }

    /// <summary>What speaks against a division over blocks: one alone on its multiprocessor, a last wave that is nearly empty, clusters that fit badly.</summary>
    private double Crowding(CudaLimits limits)
    {
        var blocks = (double)(Slices * Cluster);
        var at = (double)limits.Multiprocessors * Resident;
        var waves = blocks / at;
        return (0.5 * Math.Log2(Cluster)) + (Resident == 1 ? 2 : Resident == 2 ? 0.3 : 0)
            + (waves > 1 ? 2 * ((Math.Ceiling(waves) / waves) - 1) : 0)
            + (1.5 * Math.Max(0, Math.Log2(limits.Multiprocessors / blocks)))
            + Math.Max(0, Math.Log2(512.0 / (Resident * Threads)))
            + (0.1 * Math.Abs(Math.Log2(Steps / 10.0)));
    }
}
