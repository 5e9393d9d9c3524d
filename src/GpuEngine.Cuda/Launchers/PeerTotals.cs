using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// sync_batch_norm.cu over peer pointers: each device reads the rows of all ranks where they lie and gets the same totals. Planned without a
/// device; the caller compiles <see cref="Request"/>, writes the table of addresses into memory of the device that launches, and sees to
/// it that all rows are written before the launch runs.
/// </summary>
public sealed class PeerTotals
{
    /// <summary>The macro that makes the rows a table of addresses.</summary>
    internal const string Peers = "PEERS";

    private const string File = "sync_batch_norm.cu";
    private const int Threads = 128;

    private PeerTotals(string entry, long ranks, long channels, params (string, string)[] defines)
    {
        if (ranks < 1 || channels < 1) throw new ArgumentException($"{entry} needs at least one rank and one channel, but got {ranks} and {channels}.");
        (Ranks, Channels) = (ranks, channels);
        Request = new KernelRequest(File, entry) { Defines = [(Peers, "1"), KernelRequest.Define("THREADS", Threads), .. defines] };
        Shape = new LaunchShape(new Dim3((uint)((channels + Threads - 1) / Threads)), new Dim3(Threads));
    }

    public long Ranks { get; }

    public long Channels { get; }

    /// <summary>The compiled kernel that <see cref="LaunchStatistics"/> or <see cref="LaunchSums"/> wants.</summary>
    public KernelRequest Request { get; }

    public LaunchShape Shape { get; }

    /// <summary>Bytes of the table of addresses.</summary>
    public long TableBytes => Ranks * sizeof(ulong);

    /// <summary>From rows (count, mean, m2) [3, C] of each rank to the statistics of the whole batch.</summary>
    public static PeerTotals Statistics(long ranks, long channels, SyncBatchNormStatsOp op) => new(
        "sync_batch_norm_stats", ranks, channels, KernelRequest.Define("RUNNING", op.Running ? 1 : 0),
        KernelRequest.Define("UNBIASED", op.UnbiasedRunning ? 1 : 0), KernelRequest.Define("MOMENTUM", (float)op.Momentum), KernelRequest.Define("EPS", (float)op.Eps));

    /// <summary>From rows (sum dy, sum dy xhat) [2, C] of each rank to their sums [2, C].</summary>
    public static PeerTotals Sums(long ranks, long channels) => new("sync_batch_norm_sums", ranks, channels);

    /// <summary>Queues <see cref="Statistics"/>. Without running statistics their addresses are default; else the new ones may be the old.</summary>
    public void LaunchStatistics(CudaStream stream, CudaFunction function, in Results results, DevicePointer table, DevicePointer runningMean, DevicePointer runningVar)
    {
        var arguments = new KernelArguments();
        arguments.Add(results.Mean);
        arguments.Add(results.InvStd);
        arguments.Add(results.Count);
        arguments.Add(results.RunningMean);
        arguments.Add(results.RunningVar);
        arguments.Add(table);
        arguments.Add(runningMean);
        arguments.Add(runningVar);
        arguments.Add(Ranks);
        arguments.Add(Channels);
        function.Launch(stream, Shape, ref arguments);
    }

    /// <summary>Queues <see cref="Sums"/>.</summary>
    public void LaunchSums(CudaStream stream, CudaFunction function, DevicePointer sums, DevicePointer table)
    {
        var arguments = new KernelArguments();
        arguments.Add(sums);
        arguments.Add(table);
        arguments.Add(Ranks);
        arguments.Add(Channels);
        function.Launch(stream, Shape, ref arguments);
    }

    /// <summary>Where the statistics go, each f32 [C]; those of the running ones are default where there are none.</summary>
    public readonly record struct Results(DevicePointer Mean, DevicePointer InvStd, DevicePointer Count, DevicePointer RunningMean, DevicePointer RunningVar);
}
