using System.Numerics;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>How blocks and threads share [N, C, length] .</summary>
internal sealed record ChannelTile(bool Planes, long Batch, long Channels, long Length, int Vector, int Groups, int Threads, int Held)
{
    /// <summary>Independent blocks that keep any device busy.</summary>
    private const int EnoughBlocks = 512;

    /// <summary>Vectors of a channel.</summary>
    public long Positions => Planes ? Batch * Length / Vector : Batch;

    private int Lanes => Threads / Groups;

    private long Slices => (Channels + (Planes ? 1 : Groups * Vector) - 1) / (Planes ? 1 : Groups * Vector);

    /// <summary>Whether one launch reads everything once, and keeps the device busy.</summary>
    public bool IsHeld => Positions <= (long)Lanes * Held && (Slices >= 64 || Positions <= 4 * Lanes || !Planes);

    private long Piece => Math.Max(Lanes * Math.Max(1, Positions * Slices / ((long)EnoughBlocks * Lanes)), Lanes);

    /// <summary>Pieces that the positions of a slice are cut into.</summary>
    public long PieceCount => (Positions + Piece - 1) / Piece;

    /// <summary>
    /// What cutting costs: each piece writes so many floats per channel, which the last block reads, and the blocks that apply
    /// them read so many of a channel again.
    /// </summary>
    public Cost PieceCost(int partial, int apply) =>
        new(PieceCount * Channels * (partial + apply) * sizeof(float), PieceCount * Channels * partial * sizeof(float), 0);

    public LaunchShape Whole => new(new Dim3((uint)Slices), new Dim3((uint)Threads));

    /// <summary>Slices times pieces.</summary>
    public LaunchShape Pieces => new(new Dim3((uint)Slices, (uint)PieceCount), new Dim3((uint)Threads));

    public long[] Sizes => [Batch, Channels, Length];

    public long[] PieceSizes => [Batch, Channels, Length, Piece];

    public (string, string)[] Defines((string, string)[] macros) =>
    [
        .. macros, KernelRequest.Define("PLANES", Planes ? 1 : 0), KernelRequest.Define("VECTOR", Vector), KernelRequest.Define("GROUPS", Groups),
        KernelRequest.Define("THREADS", Threads), KernelRequest.Define("HELD", Held),
    ];

    /// <summary>
    /// The tile for tensors of this shape, those that are accessed being <paramref name="vectors"/>, with at most so many
    /// positions held by a thread.
    /// </summary>
    public static ChannelTile Of(long batch, long channels, long length, DType dtype, IEnumerable<Tensor> vectors, int mostHeld)
    {
        var planes = length > 1;
        var vector = VectorWidth.Dividing(dtype, planes ? length : channels, vectors);
        var groups = 1;
        if (!planes)
        {
            // At least the 32 bytes of a sector side by side; more where there are blocks enough.
            while (groups < 32 && groups * vector * dtype.Size() < 32) groups *= 2;
            while (groups < 8 && channels > (long)groups * vector * 160) groups *= 2;
        }

        var positions = planes ? batch * length / vector : batch;
        var threads = positions * groups > 256L * Math.Max(1, mostHeld / 2) ? 512 : 256;
        var held = (int)Math.Clamp((long)BitOperations.RoundUpToPowerOf2((ulong)((positions * groups + threads - 1) / threads)), 1, mostHeld);
        return new ChannelTile(planes, batch, channels, length, vector, groups, threads, held);
    }
}
