using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>How [N, C, L] is cut: one channel at a time, its planes of L elements in chunks of about 16 thousand elements.</summary>
internal static class PlaneCuts
{
    private const int ChunkElements = 16384;

    public static BatchSchedule Schedule(IBatchWork work, int samples, int channels, int places, int workers) => new(work, samples, channels)
    {
        ChunkSamples = Math.Max(1, ChunkElements / Math.Max(places, 1)),
        BandChannels = 1,
        GrainChannels = 1,
        // The results are the same either way, so this may depend on the number of workers.
        ByChannel = channels >= 4 * workers || workers == 1,
        IsParallel = (long)samples * channels * places >= BatchSchedule.ParallelElements,
    };
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
        Schedule = PlaneCuts.Schedule(this, Samples, Channels, Places, workers);
    }

    public override long WorkspaceBytes => (OwnArrays * Padded + Overhang) * sizeof(T) + (long)Schedule.Chunks * Channels * sizeof(Moments);

    protected override BatchSchedule Schedule { get; }

    private Moments* Parts => (Moments*)(Array(OwnArrays) + Overhang);

    public override void Sum(int chunk, int sample, int samples, int channel, int channels)
    {
        var plane = X + ((long)sample * Channels + channel) * Places;
        // A plane longer than a chunk is a chunk of its own, summed piece by piece.
        Parts[(long)chunk * Channels + channel] = samples == 1
            ? RunMoments<T, TVec, TSimd>.Of(plane, Places, true)
            : RunMoments<T, TVec, TSimd>.Of(plane, samples, (nint)Channels * Places, Places);
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
            for (var chunk = 0; chunk < Schedule.Chunks; chunk++) all = all.Merge(Parts[(long)chunk * Channels + c + lane]);
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
        Schedule = PlaneCuts.Schedule(this, Samples, Channels, Places, workers);
    }

    protected override BatchSchedule Schedule { get; }

    public override void Sum(int chunk, int sample, int samples, int channel, int channels)
    {
        var (sum, product) = (0.0, 0.0);
        for (var s = sample; s < sample + samples; s++)
        {
            var (z, zx) = RunPasses<T, TVec, TSimd, TActivation, TResidual, N0>.BackwardSums(Plane(s, channel), _activation);
            sum += double.CreateTruncating(z);
            product += double.CreateTruncating(zx);
        }

        SumOf(chunk)[channel] = T.CreateTruncating(sum);
        ProductOf(chunk)[channel] = T.CreateTruncating(product);
    }

    public override void Apply(int sample, int samples, int channel, int channels)
    {
        for (var s = sample; s < sample + samples; s++)
        {
            for (var c = channel; c < channel + channels; c++) RunPasses<T, TVec, TSimd, TActivation, TResidual, N0>.BackwardApply(Plane(s, c), _activation);
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
