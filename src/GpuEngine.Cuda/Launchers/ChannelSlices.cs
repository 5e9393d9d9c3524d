using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// How the kernels of batch normalisation share [N, C, length] among blocks and threads (kernels/common/slices.cuh): slices of channels,
/// each a list of positions of Width vectors (of Vector elements, one access) side by side. Batch is N, or the number of rows where a row of
/// channels is contiguous; PerThread the positions that a thread takes of a chunk.
/// </summary>
internal sealed record ChannelSlices(
    long Batch, long Channels, long Length, DType DType, int Vector, int Width, int Threads, int PerThread)
{
    /// <summary>A cache line: what loads and stores want to be whole.</summary>
    private const int LineBytes = 128;

    /// <summary>What the memory moves at least.</summary>
    private const int SectorBytes = 32;

    public bool Planes => Length > 1;

    /// <summary>Positions of a channel.</summary>
    public long Positions => Planes ? Batch * (Length / Vector) : Batch;

    /// <summary>Positions that a block takes at a time.</summary>
    public long Chunk => Threads / Width * PerThread;

    /// <summary>Channels of a slice.</summary>
    public int Slots => Planes ? 1 : Width * Vector;

    public long Slices => (Channels + Slots - 1) / Slots;

    /// <summary>Bytes of one position of a slice in shared memory.</summary>
    public int PositionBytes => Width * Vector * DType.Size();

    /// <summary>Bytes of the tensor.</summary>
    public long Bytes => Batch * Channels * Length * DType.Size();

    public long[] Sizes => [Batch, Channels, Length];

    /// <summary>Bytes of one tensor in so many positions of every channel.</summary>
    public long BytesOf(long positions) => positions * Channels * (Planes ? Vector : 1) * DType.Size();

    /// <summary>Positions that a warp takes at a time: what a block's part is a multiple of, so that no thread has half a batch.</summary>
    public long Run => 32 / Width * PerThread;

    /// <summary>So many positions, rounded up to whole chunks.</summary>
    public long Whole(long positions) => (positions + Chunk - 1) / Chunk * Chunk;

    /// <summary>The positions of one of so many blocks that share a slice, whole runs of warps.</summary>
    public long Part(long blocks) => ((Positions + blocks - 1) / blocks + Run - 1) / Run * Run;

    /// <summary>The macros, registers being allotted for so many blocks on a multiprocessor.</summary>
    public (string Name, string Value)[] Defines(IEnumerable<(string Name, string Value)> macros, int blocks) =>
    [
        .. macros, KernelRequest.Define("PLANES", Planes ? 1 : 0), KernelRequest.Define("VECTOR", Vector), KernelRequest.Define("WIDTH", Width),
        KernelRequest.Define("THREADS", Threads), KernelRequest.Define("BATCH", PerThread), KernelRequest.Define("BLOCKS", blocks),
    ];

    /// <summary>
    /// The ways to slice, widest rows first: whole lines, halves of them, single sectors. Null where positions, channels or planes are more
    /// than the kernels count. The <paramref name="vectors"/> are what is accessed in vectors; <paramref name="packed"/> channels share a
    /// byte of a mask of signs, which a slice must not cut.
    /// </summary>
    public static ChannelSlices[]? Of(TensorType x, bool channelsLast, IEnumerable<Tensor> vectors, int packed, int threads, int perThread)
    {
        var (rows, channels, length) = SignMask.View(x.Shape, channelsLast);
        if ((long)rows * channels > int.MaxValue && length > 1) return null;
        var vector = VectorWidth.Dividing(x.DType, length > 1 ? length : channels, vectors);
        var plain = new ChannelSlices(rows, channels, length, x.DType, vector, 1, threads, perThread);
        if (plain.Positions > int.MaxValue - 65536) return null;
        if (plain.Planes) return [plain];
        var bytes = vector * x.DType.Size();
        var columns = (channels + vector - 1) / vector;
        var widths = new List<int>();
        for (var width = Math.Min(32, LineBytes / bytes); width >= 1; width /= 2)
        {
            // Rows wider than the tensor's would leave threads idle, unless half as wide ones would not reach.
            var fits = width / 2 < columns && width * vector >= packed;
            if (fits && (width * bytes >= SectorBytes || widths.Count == 0)) widths.Add(width);
        }

        return [.. widths.Select(w => plain with { Width = w })];
    }
}
