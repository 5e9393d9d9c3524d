using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Lab.Measure;

/// <summary>A tensor that lives at the peak of the activations arena.</summary>
public sealed record LiveTensor(string Layer, string Op, string Type, long Bytes);

/// <summary>What one training step will need, known before anything is allocated.</summary>
public sealed class MemoryForecast
{
    private readonly ExecutionPlan _plan;

    public MemoryForecast(ExecutionPlan plan, int alignment)
    {
        _plan = plan;
        ByClass = plan.PeakBytes(alignment);
    }

    /// <summary>Bytes by class, as a device will allocate them.</summary>
    public IReadOnlyDictionary<MemoryClass, long> ByClass { get; }

    public long Total => ByClass.Values.Sum();

    public int Launches => _plan.Launches.Count;

    /// <summary>Exact bytes and flops of one step.</summary>
    public Cost Cost => _plan.Launches.Where(l => l.Node.Op is not Leaf).Select(l => l.Cost).Aggregate(default(Cost), (a, b) => a + b);

    /// <summary>Launches that make again what was not kept.</summary>
    public int Repeated => _plan.Launches.Count(l => l.Node.Repeats > 0);

    /// <summary>Bytes of activations alive at each launch.</summary>
    public long[] Timeline()
    {
        var live = new long[_plan.Launches.Count + 1];
        foreach (var slice in Activations())
        {
            for (var t = Math.Max(0, slice.FirstLaunch); t <= Math.Min(slice.LastLaunch, live.Length - 1); t++) live[t] += slice.Bytes;
        }

        return live;
    }

    /// <summary>The largest activations alive when most bytes are.</summary>
    public IReadOnlyList<LiveTensor> AtPeak(int most)
    {
        var timeline = Timeline();
        var peak = Array.IndexOf(timeline, timeline.Max());
        return
        [
            .. Activations().Where(s => s.FirstLaunch <= peak && peak <= s.LastLaunch).OrderByDescending(s => s.Bytes).Take(most)
                .Select(s => new LiveTensor(s.Tensor.Node.Scope, s.Tensor.Node.Op.Name, s.Tensor.Type.ToString(), s.Bytes)),
        ];
    }

    private IEnumerable<ArenaSlice> Activations() => _plan.Slices.Where(s => s.Class == MemoryClass.Activations);
}
