using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// How element-wise kernels share [outer, channels, length] (kernels/common/walk.cuh). The cut into pieces depends on the shape
/// alone, so sums over channels do not depend on the device; a flat grid does, and no result depends on it.
/// </summary>
/// <remarks>
/// Tunable: "threads" (128, 256, 512), "unroll" (1, 2, 4), "waves" (2 to 16, flat), "groups" (4 to 32, columns), "blocks" (264 to 2112,
/// the blocks that columns and planes are cut into where there is work for them).
/// </remarks>
internal sealed record ElementWalk
{
    private const int WarpSize = 32;

    /// <summary>What one thread may keep on its way while as many as a multiprocessor holds do the same.</summary>
    private const int DefaultUnroll = 2;

    /// <summary>Blocks that keep 132 multiprocessors busy with four each.</summary>
    private const int EnoughBlocks = 528;

    /// <summary>Rows are read 512 bytes at a time where that leaves enough blocks, else down to a 128-byte line.</summary>
    private const int WidestBytes = 512, NarrowestBytes = 128;

    /// <summary>
    /// A piece has so many bytes of a tensor per channel for each sum that is kept of it: the 8 bytes of writing and reading a sum
    /// are then 1.1 % of the three tensors of a backward pass, 1.7 % of the two of a forward pass.
    /// </summary>
    private const int BytesPerSum = 240;

    private long Outer { get; init; }

    private long Channels { get; init; }

    private long Length { get; init; }

    private LayoutKind Layout { get; init; }

    private int Vector { get; init; }

    private bool Aligned { get; init; }

    private int Groups { get; init; }

    private int Threads { get; init; }

    private int Unroll { get; init; }

    private long Piece { get; init; }

    private long Slices { get; init; }

    private enum LayoutKind
    {
        Flat, Columns, Planes,
    }

    /// <summary>Blocks that have parts of the same channels.</summary>
    public long Pieces { get; private init; }

    public LaunchShape Shape => new(new Dim3((uint)Slices, (uint)Pieces), new Dim3((uint)Threads));

    /// <summary>Counters of finished pieces.</summary>
    public int Counters => (int)Slices;

    /// <summary>Outer, channels, length and piece.</summary>
    public long[] Sizes => [Outer, Channels, Length, Piece];

    public (string, string)[] Defines =>
    [
        KernelRequest.Define("LAYOUT", (long)Layout), KernelRequest.Define("VECTOR", Vector), KernelRequest.Define("ALIGNED", Aligned ? 1 : 0),
        KernelRequest.Define("GROUPS", Groups), KernelRequest.Define("THREADS", Threads), KernelRequest.Define("UNROLL", Unroll),
    ];

    private long Warps => Slices * Pieces * (Threads / WarpSize);

    /// <summary>The walk over elements that have no channel.</summary>
    /// <param name="limits">The device.</param>
    /// <param name="dtype">The storage type.</param>
    /// <param name="count">Elements.</param>
    /// <param name="tensors">What is accessed in vectors.</param>
    public static ElementWalk Flat(CudaLimits limits, DType dtype, long count, IEnumerable<Tensor> tensors)
    {
        var (vector, threads, unroll) = (16 / dtype.Size(), limits.Tuned("threads", 256), limits.Tuned("unroll", DefaultUnroll));
        var perThread = (long)vector * unroll;
        return new ElementWalk
        {
            Outer = 1,
            Channels = 1,
            Length = count,
            Layout = LayoutKind.Flat,
            Vector = vector,
            Aligned = VectorWidth.Any(dtype, tensors) > 1,
            Groups = 1,
            Threads = threads,
            Unroll = unroll,
            Pieces = 1,
            Slices = limits.Blocks((count + perThread - 1) / perThread, threads, limits.Tuned("waves", 4)),
        };
    }

    /// <summary>The walk along channels; null beyond what the kernels index.</summary>
    /// <param name="limits">The device.</param>
    /// <param name="x">[outer..., channels, length...].</param>
    /// <param name="dim">The channel axis.</param>
    /// <param name="sums">Sums per channel that the kernel makes.</param>
    /// <param name="tensors">What is accessed in vectors.</param>
    public static ElementWalk? OverChannels(CudaLimits limits, TensorType x, int dim, int sums, IEnumerable<Tensor> tensors) => OverChannels(
        limits, x.DType, x.Shape.Product(0, dim), x.Shape[dim], x.Shape.Product(dim + 1, x.Shape.Rank), sums, tensors);

    /// <summary>The walk along channels; null beyond what the kernels index.</summary>
    public static ElementWalk? OverChannels(
        CudaLimits limits, DType dtype, long outer, long channels, long length, int sums, IEnumerable<Tensor> tensors, int mostColumns = int.MaxValue)
    {
        var columns = length == 1;
        var vector = VectorWidth.Dividing(dtype, columns ? channels : length, tensors);
        if (columns) vector = Math.Min(vector, mostColumns);
        var positions = columns ? outer : outer * (length / vector);
        if (positions > int.MaxValue || channels > int.MaxValue) return null;
        var (unroll, threads, enough) = (limits.Tuned("unroll", DefaultUnroll), 256, limits.Tuned("blocks", EnoughBlocks));
        while (!columns && threads > WarpSize && positions <= threads / 2) threads /= 2;
        threads = limits.Tuned("threads", threads);
        var fewest = (long)BytesPerSum * sums / dtype.Size() / (columns ? 1 : vector);
        // A block that has not even two turns of its threads costs more than it brings.
        long Most(int groups) => Math.Max(1, positions / Math.Max(fewest, 2L * (threads / groups) * unroll));
        long SlicesOf(int groups) => columns ? (channels + (groups * vector) - 1) / (groups * vector) : channels;
        var groups = 1;
        if (columns)
        {
            while (groups < WarpSize && groups * vector < channels && groups * vector * dtype.Size() < WidestBytes) groups *= 2;
            while (groups * vector * dtype.Size() > NarrowestBytes && SlicesOf(groups) * Most(groups) < enough / 2) groups /= 2;
            groups = limits.Tuned("groups", groups);
        }

        var (lanes, slices) = (threads / groups, SlicesOf(groups));
        var pieces = Math.Clamp((enough + slices - 1) / slices, 1, Math.Min(Most(groups), ushort.MaxValue));
        var piece = ((positions + pieces - 1) / pieces + lanes - 1) / lanes * lanes;
        return new ElementWalk
        {
            Outer = outer,
            Channels = channels,
            Length = length,
            Layout = columns ? LayoutKind.Columns : LayoutKind.Planes,
            Vector = vector,
            Aligned = true,
            Groups = groups,
            Threads = threads,
            Unroll = unroll,
            Slices = slices,
            Piece = piece,
            Pieces = (positions + piece - 1) / piece,
        };
    }

    /// <summary>
    /// What is read beyond once: so many numbers per channel by each block that has the channel (planes: by each of its warps), and
    /// the generator's 16 bytes by each warp.
    /// </summary>
    public Cost Repeated(int perChannel, int numberBytes, bool draws)
    {
        var readers = Layout == LayoutKind.Columns ? Pieces : Pieces * (Threads / WarpSize);
        return new Cost(perChannel * numberBytes * (readers - 1) * Channels + (draws ? 16 * (Warps - 1) : 0), 0, 0);
    }

    /// <summary>What so many 4-byte sums per channel cost beyond their results.</summary>
    public Cost SumsCost(int sums) => Pieces == 1 ? default : new Cost(SumBytes(sums), SumBytes(sums), 0);

    /// <summary>Workspace of so many 4-byte sums per channel.</summary>
    public long SumBytes(int sums) => Pieces == 1 ? 0 : Pieces * sums * Channels * sizeof(float);
}
