using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>How threads share the rows of a norm (kernels/common/rows.cuh), and what a launch needs for it.</summary>
internal sealed record RowTile
{
    private const int RegistersPerMultiprocessor = 65536;
    private const int SharedPerMultiprocessor = 227 * 1024;
    private const int FreeSharedBytes = 48 * 1024;

    /// <summary>Addresses, indices and statistics.</summary>
    private const int OtherRegisters = 40;

    /// <summary>Bytes that a thread should have under way: fewer leave memory idle, more cost registers that hide nothing.</summary>
    private const double WantedBytes = 64;

    /// <summary>
    /// Bytes that a multiprocessor should have under way: 4 TB/s times 0.7 us of loaded latency over 132 multiprocessors is 21 KB, and
    /// at times only a third of the blocks is waiting for memory.
    /// </summary>
    private const int WantedUnderWay = 64 * 1024;

    /// <summary>Threads on a multiprocessor below which the arithmetic of one does not hide behind the others'.</summary>
    private const double WantedThreads = 512;

    /// <summary>Partial sums up to here stay in the second-level cache and cost next to nothing.</summary>
    private const int SmallPartialBytes = 1 << 20;

    /// <summary>Elements of one access.</summary>
    public required int Vector { get; init; }

    /// <summary>Threads of a block.</summary>
    public int Threads { get; init; }

    /// <summary>Threads of a block that share a row.</summary>
    public int Lanes { get; init; }

    /// <summary>Blocks that share a row.</summary>
    public int Cluster { get; init; }

    /// <summary>Threads that share a unit of a row.</summary>
    public int Team { get; init; }

    /// <summary>Units that a thread has a part of.</summary>
    public int Units { get; init; }

    /// <summary>Vectors of a unit that a thread holds.</summary>
    public int Held { get; init; }

    /// <summary>Rows that a thread takes at a time.</summary>
    public int Rows { get; init; } = 1;

    /// <summary>Sets of rows that are copied ahead into shared memory.</summary>
    public int Stages { get; init; }

    /// <summary>Where parameters stay: 0 nowhere, 1 in registers, 2 in shared memory.</summary>
    public int Parameters { get; init; }

    /// <summary>Blocks that one multiprocessor runs at a time.</summary>
    public int Blocks { get; init; } = 1;

    /// <summary>Blocks, each with rows of its own, that add up their sums through each other's shared memory.</summary>
    public int Gather { get; init; } = 1;

    /// <summary>Blocks of the launch.</summary>
    public int Grid { get; init; }

    /// <summary>Dynamic shared memory of a block.</summary>
    public int SharedBytes { get; init; }

    /// <summary>
    /// What the function asks for: together with the kernel's own shared variables it may pass the limit that needs no asking.
    /// </summary>
    public int AskedSharedBytes => SharedBytes <= FreeSharedBytes - 8192 ? SharedBytes : Math.Max(SharedBytes, FreeSharedBytes + 16);

    /// <summary>Rows side by side in a block.</summary>
    public int Slots => Threads / Lanes;

    /// <summary>Warps of a team: each reads the parameters of its units, and writes a partial sum of them.</summary>
    public int TeamWarps => Math.Max(1, Team / 32);

    /// <summary>Whether a block reads the parameters of elements once for all its slots.</summary>
    public bool SharesParameters(RowShape rows) => Parameters == 2 || (Parameters == 1 && Slots > 1 && rows.Groups == 1);

    /// <summary>Warps that share a row.</summary>
    public int RowWarps => Cluster * Math.Max(1, Lanes / 32);

    private long Waves(RowShape rows) => (rows.Rows + (long)Slots * Rows * (Grid / Cluster) - 1) / ((long)Slots * Rows * (Grid / Cluster));

    /// <summary>Whether some block takes more than one set of rows.</summary>
    public bool Stays(RowShape rows) => Waves(rows) > 1;

    public LaunchShape Shape => new(new Dim3((uint)Grid), new Dim3((uint)Threads), (uint)SharedBytes)
    {
        Cluster = Cluster * Gather > 1 ? new Dim3((uint)(Cluster * Gather)) : default,
    };

    /// <summary>Rows of partial sums of a kernel that adds up columns.</summary>
    public long PartialRows(RowShape rows) => rows.Groups > 1 ? (long)Grid * Slots / rows.Groups : Grid / (Cluster * Gather);

    /// <summary>The constants of the mapping.</summary>
    public (string, string)[] Defines(RowShape rows)
    {
        var (teams, vectors) = (Lanes * Cluster / Team, (long)Team * Held);
        return
        [
            KernelRequest.Define("VECTOR", Vector), KernelRequest.Define("THREADS", Threads), KernelRequest.Define("BLOCKS", Blocks),
            KernelRequest.Define("LANES", Lanes), KernelRequest.Define("CLUSTER", Cluster), KernelRequest.Define("TEAM", Team),
            KernelRequest.Define("ROWS", Rows), KernelRequest.Define("UNITS", Units), KernelRequest.Define("HELD", Held),
            KernelRequest.Define("RAGGED", vectors == rows.Vectors ? 0 : 1), KernelRequest.Define("RAGGED_UNITS", (long)teams * Units == rows.Units ? 0 : 1),
            KernelRequest.Define("ELEMENTS", rows.Elements ? 1 : 0), KernelRequest.Define("STAGES", Stages), KernelRequest.Define("PARAMS", Parameters),
            KernelRequest.Define("GATHER", Gather), KernelRequest.Define("GROUPED", rows.Groups > 1 ? 1 : 0),
        ];
    }

    /// <summary>The tile for rows of this kind; null where a row does not fit into the registers of a cluster.</summary>
    public static RowTile? Of(RowShape rows, CudaLimits limits)
    {
        RowTile? best = null;
        var lowest = double.PositiveInfinity;
        foreach (var tile in Candidates(rows, limits))
        {
            var cost = tile.Penalty(rows, limits);
            if (cost >= lowest) continue;
            (best, lowest) = (tile, cost);
        }

        if (best is null) return null;
        // They were looked up above; here the choice is told to who asks for it.
        limits.Tuned("lanes", best.Lanes);
        limits.Tuned("cluster", best.Cluster);
        limits.Tuned("threads", best.Threads);
        return best.Furnished(rows, limits);
    }

    private static IEnumerable<RowTile> Candidates(RowShape rows, CudaLimits limits)
    {
        var mostCluster = limits.SupportsClusters ? 8 : 1;
        var tuning = limits.Tuning;
        var (wantedLanes, wantedCluster) = (tuning.GetValueOrDefault("lanes"), tuning.GetValueOrDefault("cluster"));
        for (var cluster = 1; cluster <= mostCluster; cluster *= 2)
        {
            foreach (var lanes in Widths(Math.Min(limits.ThreadsPerBlock, 1024)))
            {
                if (cluster > 1 && rows.Groups > 1) continue;
                if ((wantedLanes > 0 && lanes != wantedLanes) || (wantedCluster > 0 && cluster != wantedCluster)) continue;
                // Several rows of a block side by side make it wide enough to be worth starting.
                var threads = cluster > 1 || lanes >= 128 ? lanes : 256 / lanes * lanes;
                if (cluster > 1 && lanes < 128) continue;
                if (cluster == 1 && tuning.GetValueOrDefault("threads") is > 0 and var t && t % lanes == 0) threads = t;
                foreach (var team in Widths(lanes * cluster))
                {
                    if (lanes * cluster % team != 0 || (rows.Elements && team != lanes * cluster)) continue;
                    var (units, held) = (CeilDiv(rows.Units, lanes * cluster / team), CeilDiv(rows.Vectors, team));
                    var tile = new RowTile
                    {
                        Vector = rows.Vector,
                        Threads = threads,
                        Lanes = lanes,
                        Cluster = cluster,
                        Team = team,
                        Units = (int)Math.Min(units, 1000),
                        Held = (int)Math.Min(held, 1000),
                    };
                    if (units * held <= 16 && tile.Registers(rows) <= Math.Min(RegistersPerMultiprocessor / threads, 200)) yield return tile;
                }
            }
        }
    }

    /// <summary>Powers of two to a warp, then whole warps.</summary>
    private static IEnumerable<int> Widths(int most)
    {
        for (var width = 1; width < 32; width *= 2) yield return width;
        for (var width = 32; width <= most; width += 32) yield return width;
    }

    private static long CeilDiv(long a, long b) => (a + b - 1) / b;

    private int VectorsHeld => Units * Held;

    /// <summary>Registers of a thread, counted by hand; nvcc's own count is at most this where nothing else is said.</summary>
    private int Registers(RowShape rows)
    {
        var held = (VectorsHeld * Rows * Vector * rows.ElementSize * rows.Tensors + 3) / 4;
        var sums = rows.SumsPerElement * Held * Vector;
        var kept = Parameters == 1 ? KeptBytes(rows) / 4 : 0;
        var units = rows.Elements ? 0 : Rows * Units * (2 + 2 * rows.SumsPerUnit);
        return OtherRegisters + held + sums + kept + units + 2 * Vector + 4 * Rows;
    }

    /// <summary>Bytes of weight and bias of a thread's vectors.</summary>
    private int KeptBytes(RowShape rows) => rows.Elements ? Held * Vector * rows.ParameterBytes : 0;

    /// <summary>What speaks against a mapping, in no unit: idle lanes, narrow accesses, barriers, too few or too many bytes under way.</summary>
    private double Penalty(RowShape rows, CudaLimits limits)
    {
        var bytes = (double)VectorsHeld * Vector * rows.ElementSize * rows.Tensors;
        var all = (double)Lanes * Cluster;
        var side = Math.Min(Team, rows.Vectors) * Vector * (double)rows.ElementSize;
        var inWarp = Lanes <= 32 && Cluster == 1;
        return 3 * (all * VectorsHeld / (rows.Units * (double)rows.Vectors) - 1)
            + Math.Max(0, Math.Log2(128 / side))
            + 0.9 * (inWarp ? Math.Max(0, Math.Log2(bytes / WantedBytes)) : Math.Abs(Math.Log2(bytes / WantedBytes)))
            + (inWarp ? 0.1 * Math.Log2(32.0 / Lanes) : 1) + (Lanes > 512 ? 1 : 0)
            + 1.5 * Math.Max(0, Math.Log2(WantedThreads / (FittingByRegisters(rows) * Threads)))
            // A block alone waits for its own reductions.
            + (FittingByRegisters(rows) == 1 ? 1.2 : 0) + 0.1 * (Units - 1)
            + (Cluster > 1 ? 1 + 1.5 * Math.Log2(Cluster) : 0)
            + 1.5 * Math.Max(0, Math.Log2(limits.Multiprocessors * 512 / (rows.Rows * all)));
    }

    /// <summary>With parameters, copies ahead and a grid.</summary>
    private RowTile Furnished(RowShape rows, CudaLimits limits)
    {
        var tile = this;
        if (Lanes <= 32 && rows.Groups == 1)
        {
            // Several rows of a thread stand for what one has too few bytes of.
            var side = (int)Math.Clamp(WantedBytes / (VectorsHeld * Vector * rows.ElementSize), 1, 4);
            var enough = rows.Rows * Lanes / (limits.Multiprocessors * 1024L);
            var few = (int)BitOperations.RoundUpToPowerOf2((uint)Math.Clamp(Math.Min(side, enough), 1, 4));
            tile = tile with { Rows = limits.Tuned("rows", few) };
        }

        var most = limits.SharedBytesPerBlockOptIn - 2048;
        var kept = tile.KeptBytes(rows);
        var shared = kept * tile.Lanes;
        var place = kept == 0 ? 0 : kept <= 64 && (tile with { Parameters = 1 }).Registers(rows) <= 112 ? 1 : shared <= most && rows.Groups == 1 ? 2 : 0;
        tile = tile with { Parameters = rows.Groups == 1 ? limits.Tuned("params", place) : place };
        // On their way to registers they pass shared memory, so that a block reads them once for all its slots.
        if (!tile.SharesParameters(rows)) shared = 0;

        // One set of rows ahead where a row takes a block; warps of their own rows are out of step by themselves.
        var stageBytes = tile.Threads * tile.VectorsHeld * tile.Rows * Vector * rows.ElementSize * rows.Tensors;
        var stages = Vector * rows.ElementSize < 16 || tile.Lanes <= 32 ? 0 : rows.Tensors;
        var together = tile.FittingByRegisters(rows) > 1 ? 2 : 1;
        while (stages > 0 && together * (shared + stages * stageBytes) > most) stages--;
        stages = Math.Min(limits.Tuned("stages", stages), (most - shared) / Math.Max(stageBytes, 1));
        tile = (tile with { Stages = stages }).WithGrid(rows, limits, stages * stageBytes + shared);
        // A block that stays for one set only has nothing to copy ahead.
        return tile.Stays(rows) || stages == 0 ? tile : (tile with { Stages = 0 }).WithGrid(rows, limits, shared);
    }

    /// <summary>Partial sums are written and read again: not more than a part in 25 of what the rows move.</summary>
    private int Gathered(RowShape rows, CudaLimits limits, int blocks)
    {
        var gather = 1;
        var bytes = (double)blocks * rows.SumsPerElement * rows.Columns * sizeof(float);
        if (bytes <= SmallPartialBytes || Cluster > 1 || rows.Groups > 1 || !limits.SupportsClusters) return gather;
        if (rows.FinishBytes(this, gathered: true) > limits.SharedBytesPerBlockOptIn - 2048) return gather;
        var moved = 3.0 * rows.Rows * rows.Columns * rows.ElementSize;
        while (gather < 8 && 2 * gather <= blocks && 2 * bytes / gather > 0.04 * moved) gather *= 2;
        return gather;
    }

    private int FittingByRegisters(RowShape rows) => RegistersPerMultiprocessor / (Threads * ((Registers(rows) + 7) / 8 * 8));

    private RowTile WithGrid(RowShape rows, CudaLimits limits, int shared)
    {
        shared = Math.Max(shared, rows.FinishBytes(this, gathered: false));
        var fit = Math.Min(limits.ThreadsPerMultiprocessor / Threads, FittingByRegisters(rows));
        fit = Math.Clamp(Math.Min(fit, SharedPerMultiprocessor / (shared + 2048)), 1, 16);
        var sets = CeilDiv(rows.Rows, (long)Slots * Rows);
        var (chosen, best) = (fit, 0.0);
        var underWay = Threads * VectorsHeld * Rows * Vector * rows.ElementSize * rows.Tensors * (Stages > 0 ? 2 : 1);
        for (var blocks = fit; blocks >= Math.Min(fit, CeilDiv(WantedUnderWay, underWay)); blocks--)
        {
            // The share of the time that a multiprocessor works when sets are dealt out evenly.
            var at = Math.Max(1, limits.Multiprocessors * blocks / Cluster);
            var share = sets / (double)(CeilDiv(sets, at) * at);
            if (share > best + 0.03) (chosen, best) = (blocks, share);
        }

        chosen = limits.Tuned("blocks", chosen);
        var most = Math.Max(1, limits.Multiprocessors * chosen / Cluster);
        var clusters = (int)Math.Min(sets, most);
        var gather = rows.Groups > 1 ? 1 : limits.Tuned("gather", Gathered(rows, limits, clusters));
        if (gather > 1) shared = Math.Max(shared, rows.FinishBytes(this, gathered: true));
        // A block without rows of its own only helps to add up; one too many would run after all others.
        clusters = (clusters < most ? clusters + gather - 1 : clusters) / gather * gather;
        if (rows.Groups > 1)
        {
            // Every turn of the grid must be whole samples, so that a slot stays with its group.
            var turn = rows.Groups / (int)BigInteger.GreatestCommonDivisor(rows.Groups, Slots);
            clusters = (clusters + turn - 1) / turn * turn;
        }

        return this with { Blocks = Math.Min(fit, chosen), Grid = clusters * Cluster, SharedBytes = shared, Gather = gather };
    }
}

/// <summary>The rows of a norm, as a kernel sees them.</summary>
/// <param name="Rows">Rows with statistics of their own.</param>
/// <param name="Units">Units of a row.</param>
/// <param name="Vectors">Vectors of a unit.</param>
/// <param name="Vector">Elements of a vector.</param>
/// <param name="ElementSize">Bytes of an element.</param>
/// <param name="Elements">Whether every element of a row has its own parameters; then there is one unit.</param>
/// <param name="Tensors">Tensors that are held: x, or dy and x.</param>
/// <param name="ParameterBytes">Bytes of weight and bias per parameter.</param>
/// <param name="Sums">Sums per parameter that a kernel gathers: 0 forward, dweight and dbias.</param>
internal sealed record RowShape(
    long Rows, long Units, long Vectors, int Vector, int ElementSize, bool Elements, int Tensors, int ParameterBytes, int Sums)
{
    /// <summary>Where elements have parameters: rows take those of so many groups in turn.</summary>
    public int Groups { get; init; } = 1;

    public int SumsPerElement => Elements ? Sums : 0;

    public int SumsPerUnit => Elements ? 0 : Sums;

    public long Columns => Units * Vectors * Vector;

    public static RowShape Of(RowLayout layout, DType dtype, IEnumerable<Tensor> accessed, int parameterBytes, int sums)
    {
        var elements = layout.Inner == 1;
        var extent = elements ? layout.Length : layout.Inner;
        Tensor[] tensors = [.. accessed];
        var vector = VectorWidth.Dividing(dtype, extent, tensors);
        return new RowShape(layout.Rows, elements ? 1 : layout.Units, extent / vector, vector, dtype.Size(), elements, tensors.Length, parameterBytes, sums)
        {
            Groups = elements ? layout.Groups : 1,
        };
    }

    /// <summary>Shared memory in which the slots of a block, or gathered blocks, add up their sums.</summary>
    public int FinishBytes(RowTile tile, bool gathered)
    {
        var copies = tile.Lanes < 32 ? tile.Threads / 32 : tile.Slots;
        return SumsPerElement == 0 || Groups > 1 || tile.Cluster > 1 || (copies == 1 && !gathered) ? 0 : (int)(copies * SumsPerElement * Columns * sizeof(float));
    }
}
