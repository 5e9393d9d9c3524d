using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>How [N, C] is cut: columns at cache lines, long columns into chunks of rows.</summary>
internal static class ColumnCuts
{
    private const int RowsAtOnce = 1024;

    private const int ChunkRows = 512;

    private const int Grain = 16;

    /// <summary>Bytes of one tensor's band: the two or three tensors of a pass stay in a second-level cache together.</summary>
    private const int BandBytes = 128 * 1024;

    public static BatchSchedule Schedule(IBatchWork work, int rows, int columns, int elementSize)
    {
        var atOnce = rows <= RowsAtOnce;
        return new BatchSchedule(work, rows, columns)
        {
            ChunkSamples = atOnce ? Math.Max(rows, 1) : ChunkRows,
            BandChannels = Math.Max(4 * Grain, BandBytes / (Math.Clamp(rows, 1, RowsAtOnce) * elementSize) / Grain * Grain),
            GrainChannels = Grain,
            ByChannel = atOnce,
            IsParallel = (long)rows * columns >= BatchSchedule.ParallelElements,
        };
    }
}

/// <summary>batch_norm on [N, C].</summary>
internal sealed unsafe class BatchNormColumns<T, TVec, TSimd, TActivation, TResidual> : BatchNormForward<T, TVec, TSimd>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TResidual : struct, IConstant
{
    private readonly TActivation _activation;

    public BatchNormColumns(Node node, TActivation activation) : base(node)
    {
        _activation = activation;
        Schedule = ColumnCuts.Schedule(this, Samples, Channels, sizeof(T));
    }

    // Of each chunk the shift, the sum and the sum of squares.
    public override long WorkspaceBytes => ((OwnArrays + 3L * Schedule.Chunks) * Padded + Overhang) * sizeof(T);

    protected override BatchSchedule Schedule { get; }

    public override void Sum(int chunk, int sample, int samples, int channel, int channels)
    {
        var own = OwnArrays + 3 * chunk;
        var band = Band(sample, samples, channel, channels);
        band.Mean = Array(own) + channel;
        band.Sum = Array(own + 1) + channel;
        band.Product = Array(own + 2) + channel;
        ColumnPasses<T, TVec, TSimd, TActivation, TResidual>.Shift(band);
        ColumnPasses<T, TVec, TSimd, TActivation, TResidual>.Moments(band);
    }

    public override void Apply(int sample, int samples, int channel, int channels) =>
        ColumnPasses<T, TVec, TSimd, TActivation, TResidual>.Apply(Band(sample, samples, channel, channels), _activation);

    protected override (TVec Mean, TVec Variance) Statistics(int c)
    {
        var merged = default(Moments<T, TVec, TSimd>);
        for (var chunk = 0; chunk < Schedule.Chunks; chunk++)
        {
            var own = OwnArrays + 3 * chunk;
            var rows = Math.Min(Schedule.ChunkSamples, Samples - chunk * Schedule.ChunkSamples);
            var part = Moments<T, TVec, TSimd>.OfShifted(
                rows, TSimd.Load(Array(own) + c), TSimd.Load(Array(own + 1) + c), TSimd.Load(Array(own + 2) + c));
            merged = chunk == 0 ? part : merged.Merge(part);
        }

        return (merged.Mean, merged.Variance);
    }

    private ColumnBand<T> Band(int row, int rows, int column, int columns)
    {
        var at = (long)row * Channels + column;
        return new ColumnBand<T>
        {
            X = X + at,
            Result = Out<T>(0) + at,
            Residual = Residual + at,
            Stride = Channels,
            Rows = rows,
            Columns = columns,
            Mean = Mean + column,
            Scale = Scale + column,
            Bias = Bias + column,
        };
    }
}

/// <summary>The gradient of batch_norm on [N, C].</summary>
internal sealed unsafe class BatchNormColumnsBackward<T, TVec, TSimd, TActivation, TResidual> : BatchNormBackward<T, TVec, TSimd>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TResidual : struct, IConstant
{
    private readonly TActivation _activation;

    public BatchNormColumnsBackward(Node node, TActivation activation) : base(node)
    {
        _activation = activation;
        Schedule = ColumnCuts.Schedule(this, Samples, Channels, sizeof(T));
    }

    protected override BatchSchedule Schedule { get; }

    public override void Sum(int chunk, int sample, int samples, int channel, int channels)
    {
        var band = Band(sample, samples, channel, channels);
        band.Sum = SumOf(chunk) + channel;
        band.Product = ProductOf(chunk) + channel;
        ColumnPasses<T, TVec, TSimd, TActivation, TResidual>.BackwardSums(band, _activation);
    }

    public override void Apply(int sample, int samples, int channel, int channels)
    {
        var band = Band(sample, samples, channel, channels);
        band.Sum = Offset + channel;
        band.Product = Factor + channel;
        ColumnPasses<T, TVec, TSimd, TActivation, TResidual>.BackwardApply(band, _activation);
    }

    private ColumnBand<T> Band(int row, int rows, int column, int columns)
    {
        var at = (long)row * Channels + column;
        return new ColumnBand<T>
        {
            X = X + at,
            Dy = Dy + at,
            Result = Out<T>(0) + at,
            Residual = Residual + at,
            DResidual = DResidual + at,
            Stride = Channels,
            Rows = rows,
            Columns = columns,
            Mean = Mean + column,
            Scale = Scale + column,
            Bias = Bias + column,
        };
    }
}
