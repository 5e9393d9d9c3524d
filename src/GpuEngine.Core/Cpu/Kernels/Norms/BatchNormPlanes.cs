using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>
/// How [N, C, L] is cut: into chunks of samples, about 16 thousand elements per channel, and into bands of channels, whose
/// planes lie side by side in each sample. Everything goes sample by sample, so that memory is read in order: a channel's
/// planes often lie a power of two apart, where a cache holds few of them.
/// </summary>
internal static class PlaneCuts
{
    private const int ChunkElements = 16384;

    /// <summary>A band of this size stays in a second-level cache from pass to pass.</summary>
    private const int BandBytes = 256 * 1024;

    /// <summary>A band is no narrower than this in each sample: long enough for the prefetcher.</summary>
    private const int StretchBytes = 16 * 1024;

    public static BatchSchedule Schedule(IBatchWork work, int samples, int channels, int places, int elementSize, int workers)
    {
        var planeBytes = Math.Max(1, (long)places * elementSize);
        return new BatchSchedule(work, samples, channels)
        {
            ChunkSamples = Math.Max(1, ChunkElements / Math.Max(places, 1)),
            BandChannels = (int)Math.Max(1, Math.Max(BandBytes / (planeBytes * Math.Max(samples, 1)), StretchBytes / planeBytes)),
            GrainChannels = 1,
            // The results are the same either way, so this may depend on the number of workers.
            ByChannel = channels >= 4 * workers || workers == 1,
            IsParallel = (long)samples * channels * places >= BatchSchedule.ParallelElements,
        };
    }
}

/// <summary>batch_norm on [N, C, ...].</summary>
internal sealed unsafe class BatchNormPlanes<T, TVec, TSimd, TActivation, TResidual> : BatchNormForward<T, TVec, TSimd>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TResidual : struct, IConstant
{
    private readonly TActivation _activation;

    public BatchNormPlanes(Node node, TActivation activation, int workers) : base(node)
    {
        _activation = activation;
        Schedule = PlaneCuts.Schedule(this, Samples, Channels, Places, sizeof(T), workers);
    }

    public override long WorkspaceBytes => (OwnArrays * Padded + Overhang) * sizeof(T) + (long)Schedule.Chunks * Channels * sizeof(ShiftedSums);

    protected override BatchSchedule Schedule { get; }

    private ShiftedSums* Parts => (ShiftedSums*)(Array(OwnArrays) + Overhang);

    public override void Sum(int chunk, int sample, int samples, int channel, int channels)
    {
        var parts = Parts + (long)chunk * Channels;
        var first = X + (long)sample * Channels * Places;
        for (var c = channel; c < channel + channels; c++) parts[c] = RunMoments<T, TVec, TSimd>.About(first + (long)c * Places, Places);
        for (var s = 0; s < samples; s++, first += (long)Channels * Places)
        {
            for (var c = channel; c < channel + channels; c++) RunMoments<T, TVec, TSimd>.Add(ref parts[c], first + (long)c * Places, Places);
        }
    }

    public override void Apply(int sample, int samples, int channel, int channels)
    {
        for (var s = sample; s < sample + samples; s++)
        {
            for (var c = channel; c < channel + channels; c++)
            {
                var at = ((long)s * Channels + c) * Places;
                RunPasses<T, TVec, TSimd, TActivation, TResidual, N0>.Apply(new Run<T>
                {
                    X = X + at,
                    Result = Out<T>(0) + at,
                    Residual = Residual + at,
                    Length = Places,
                    Mean = Mean[c],
                    Scale = Scale[c],
                    Bias = Bias[c],
                }, _activation);
            }
        }
    }

    protected override (TVec Mean, TVec Variance) Statistics(int c)
    {
        T* mean = stackalloc T[TSimd.Width];
        T* variance = stackalloc T[TSimd.Width];
        for (var lane = 0; lane < TSimd.Width && c + lane < Channels; lane++)
        {
            var all = default(Moments);
            for (var chunk = 0; chunk < Schedule.Chunks; chunk++) all = all.Merge(Parts[(long)chunk * Channels + c + lane].Moments);
            mean[lane] = T.CreateTruncating(all.Mean);
            variance[lane] = T.CreateTruncating(all.Variance);
        }

        return (TSimd.Load(mean), TSimd.Load(variance));
    }
}

/// <summary>The gradient of batch_norm on [N, C, ...].</summary>
internal sealed unsafe class BatchNormPlanesBackward<T, TVec, TSimd, TActivation, TResidual> : BatchNormBackward<T, TVec, TSimd>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where TVec : struct
    where TSimd : struct, ISimd<TVec, T>
    where TActivation : struct, IFusedActivation<T>
    where TResidual : struct, IConstant
{
    private readonly TActivation _activation;

    public BatchNormPlanesBackward(Node node, TActivation activation, int workers) : base(node)
    {
        _activation = activation;
        Schedule = PlaneCuts.Schedule(this, Samples, Channels, Places, sizeof(T), workers);
    }

    protected override BatchSchedule Schedule { get; }

    public override void Sum(int chunk, int sample, int samples, int channel, int channels)
    {
        var sums = new Span<T>(SumOf(chunk), Channels);
        var products = new Span<T>(ProductOf(chunk), Channels);
        sums.Slice(channel, channels).Clear();
        products.Slice(channel, channels).Clear();
        for (var s = sample; s < sample + samples; s++)
        {
            for (var c = channel; c < channel + channels; c++)
            {
                var (sum, product) = RunPasses<T, TVec, TSimd, TActivation, TResidual, N0>.BackwardSums(Plane(s, c), _activation);
                sums[c] += sum;
                products[c] += product;
            }
        }
    }

    public override void Apply(int sample, int samples, int channel, int channels)
    {
        for (var s = sample; s < sample + samples; s++)
        {
            for (var c = channel; c < channel + channels; c++)
                RunPasses<T, TVec, TSimd, TActivation, TResidual, N0>.BackwardApply(Plane(s, c), _activation);
        }
    }

    private Run<T> Plane(int sample, int channel)
    {
        var at = ((long)sample * Channels + channel) * Places;
        return new Run<T>
        {
            X = X + at,
            Dy = Dy + at,
            Result = Out<T>(0) + at,
            Residual = Residual + at,
            DResidual = DResidual + at,
            Length = Places,
            Mean = Mean[channel],
            Scale = Scale[channel],
            Bias = Bias[channel],
            Offset = Offset[channel],
            Factor = Factor[channel],
        };
    }
}
