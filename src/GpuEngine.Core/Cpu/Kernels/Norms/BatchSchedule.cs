using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu.Kernels.Norms;

/// <summary>What a batch_norm kernel does to a block of samples and channels.</summary>
internal interface IBatchWork
{
    /// <summary>Whether results depend on sums over the samples.</summary>
    bool NeedsSums { get; }

    /// <summary>Per-channel values that the sums need.</summary>
    void Prepare(int channel, int channels);

    /// <summary>The sums of one chunk of samples.</summary>
    void Sum(int chunk, int sample, int samples, int channel, int channels);

    /// <summary>From the sums of all chunks to per-channel results and to what <see cref="Apply"/> needs.</summary>
    void Combine(int channel, int channels);

    void Apply(int sample, int samples, int channel, int channels);
}

/// <summary>
/// How the passes of batch_norm are shared out. With channels enough, workers share out the channels and each takes its own
/// through all passes, band by band, while they are in its cache: one fork. Else workers share out (chunk of samples, band)
/// pairs, the caller merges the chunks, and workers share out the samples: two forks. Chunks depend on the shape alone and are
/// merged in order either way, so results are bit-equal for any number of workers.
/// </summary>
internal sealed class BatchSchedule(IBatchWork work, int samples, int channels) : IParallelWork
{
    /// <summary>Below this a norm takes some three microseconds on one core, and waking the team gains nothing.</summary>
    public const int ParallelElements = 65536;

    private Phase _phase;

    private enum Phase
    {
        Everything, Sums, Apply,
    }

    /// <summary>Samples whose sums are taken at once.</summary>
    public required int ChunkSamples { get; init; }

    /// <summary>Channels that go through all passes together.</summary>
    public required int BandChannels { get; init; }

    /// <summary>Where channels may be cut.</summary>
    public required int GrainChannels { get; init; }

    /// <summary>Whether there are channels enough to share out.</summary>
    public required bool ByChannel { get; init; }

    public required bool IsParallel { get; init; }

    public int Chunks => (samples + ChunkSamples - 1) / ChunkSamples;

    public void Run(CpuPool pool)
    {
        if (ByChannel)
        {
            Fork(pool, Phase.Everything);
            return;
        }

        work.Prepare(0, channels);
        if (work.NeedsSums) Fork(pool, Phase.Sums);
        work.Combine(0, channels);
        Fork(pool, Phase.Apply);
    }

    public void Execute(int worker, int workers)
    {
        switch (_phase)
        {
            case Phase.Everything:
                var (first, end) = Share(channels, worker, workers, GrainChannels);
                for (var c = first; c < end; c += BandChannels) Everything(c, Math.Min(BandChannels, end - c));
                break;
            case Phase.Sums:
                var bands = (channels + BandChannels - 1) / BandChannels;
                var (from, to) = Share(Chunks * bands, worker, workers, 1);
                for (var i = from; i < to; i++) Sum(i / bands, i % bands * BandChannels, BandChannels);
                break;
            default:
                var (start, stop) = Share(samples, worker, workers, 1);
                work.Apply(start, stop - start, 0, channels);
                break;
        }
    }

    private static (int Start, int End) Share(int count, int worker, int workers, int grain)
    {
        var units = (count + grain - 1L) / grain;
        return ((int)Math.Min(units * worker / workers * grain, count), (int)Math.Min(units * (worker + 1) / workers * grain, count));
    }

    private void Fork(CpuPool pool, Phase phase)
    {
        _phase = phase;
        if (IsParallel) pool.Run(this);
        else Execute(0, 1);
    }

    private void Everything(int channel, int count)
    {
        work.Prepare(channel, count);
        if (work.NeedsSums)
        {
            for (var chunk = 0; chunk < Chunks; chunk++) Sum(chunk, channel, count);
        }

        work.Combine(channel, count);
        work.Apply(0, samples, channel, count);
    }

    private void Sum(int chunk, int channel, int count)
    {
        var sample = chunk * ChunkSamples;
        work.Sum(chunk, sample, Math.Min(ChunkSamples, samples - sample), channel, Math.Min(count, channels - channel));
    }
}
