using GpuEngine.Cuda;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Bench.Kernels;

/// <summary>Seconds of one run.</summary>
/// <param name="Median">The middle one of all replays.</param>
/// <param name="P20">The 20th percentile.</param>
/// <param name="P80">The 80th percentile.</param>
internal readonly record struct Timing(double Median, double P20, double P80)
{
    public static Timing Of(IReadOnlyList<double> seconds)
    {
        var sorted = seconds.Order().ToArray();
        double At(double share) => sorted[(int)Math.Round(share * (sorted.Length - 1))];
        return new(At(0.5), At(0.2), At(0.8));
    }
}

/// <summary>
/// Times runs of a few microseconds: many of them, captured as one graph, between two events. What lies between the launches of
/// a graph is part of the time, as it is in a training step; what lies between graphs is not.
/// </summary>
internal sealed class ReplayTimer(CudaDevice device, double seconds)
{
    private const double SecondsPerReplay = 600e-6;
    private const int MostRuns = 512;
    private const int FewestReplays = 11;
    private const int MostReplays = 200;

    /// <summary>Whether anything is timed; on the simulator each launch runs once, to show that it can.</summary>
    private bool IsTimed => seconds > 0;

    /// <param name="sets">Runs rotate over so many sets of operands.</param>
    /// <param name="launch">Queues run number so and so.</param>
    public Timing Measure(int sets, Action<int> launch)
    {
        var runs = sets;
        if (IsTimed)
        {
            using var trial = Capture(sets, launch);
            Replay(trial, 2);
            var estimate = Replay(trial, 5).Min() / sets;
            runs = (int)Math.Clamp(SecondsPerReplay / estimate / sets, 1, Math.Max(1, MostRuns / sets)) * sets;
        }

        using var graph = Capture(runs, launch);
        graph.Upload(device.Stream);
        if (!IsTimed) return Timing.Of([Replay(graph, 1)[0] / runs]);
        // The first replays raise the clocks; they are not counted.
        var once = Replay(graph, 3).Min();
        Replay(graph, (int)Math.Clamp(0.2 * seconds / once, 1, MostReplays));
        return Timing.Of([.. Replay(graph, (int)Math.Clamp(seconds / once, FewestReplays, MostReplays)).Select(s => s / runs)]);
    }

    private CudaGraphExec Capture(int runs, Action<int> launch)
    {
        using var capture = device.Stream.BeginCapture();
        for (var i = 0; i < runs; i++) launch(i);
        using var graph = capture.End();
        return graph.Instantiate("replays");
    }

    private double[] Replay(CudaGraphExec graph, int times)
    {
        var marks = new CudaEvent[times + 1];
        try
        {
            for (var i = 0; i <= times; i++) marks[i] = device.Context.CreateEvent(timing: true);
            device.Stream.Record(marks[0]);
            for (var i = 0; i < times; i++)
            {
                graph.Launch(device.Stream);
                device.Stream.Record(marks[i + 1]);
            }

            device.Stream.Synchronize();
            return [.. Enumerable.Range(0, times).Select(i => marks[i + 1].MillisecondsSince(marks[i]) * 1e-3)];
        }
        finally
        {
            foreach (var mark in marks) mark?.Dispose();
        }
    }
}
