using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;

namespace GpuEngine.Lab.Measure;

/// <summary>What limits an op.</summary>
public enum Verdict
{
    /// <summary>Bytes over the measured copy rate take longest.</summary>
    Memory,

    /// <summary>Flops over the measured GEMM rate take longest.</summary>
    Compute,

    /// <summary>So little work that starting it takes longest.</summary>
    Latency,
}

/// <summary>One line of the bottleneck table: all launches of one op (in one layer, or summed over layers).</summary>
/// <param name="Layer">The layer, or empty when summed over layers.</param>
/// <param name="Op">torch's name of the op.</param>
/// <param name="Launches">Launches per step.</param>
/// <param name="Seconds">Measured seconds per step.</param>
/// <param name="Cost">Exact bytes and flops per step.</param>
/// <param name="LimitSeconds">Seconds if every launch ran at its limit on this machine.</param>
/// <param name="Verdict">What that limit is.</param>
public sealed record LedgerRow(string Layer, string Op, int Launches, double Seconds, Cost Cost, double LimitSeconds, Verdict Verdict)
{
    public double GigabytesPerSecond => Seconds > 0 ? Cost.Bytes / Seconds / 1e9 : 0;

    /// <summary>In which ways the launches ran where the device chose among several, with their numbers: "cudnn algorithm 1 x7, split_k x5".</summary>
    public string Ways { get; init; } = "";

    public double GigaflopsPerSecond => Seconds > 0 ? Cost.Flops / Seconds / 1e9 : 0;
}

/// <summary>Rates that this machine reached in this run; the roofline is made of them, never of a data sheet.</summary>
/// <param name="BytesPerSecond">A large copy, bytes read plus bytes written.</param>
/// <param name="FlopsPerSecond">A large matrix product on random data.</param>
/// <param name="LaunchSeconds">One launch that does nothing.</param>
public readonly record struct MachineRates(double BytesPerSecond, double FlopsPerSecond, double LaunchSeconds);

/// <summary>Where the time of a step goes: per launch seconds beside exact bytes and flops.</summary>
public sealed class StepLedger
{
    private readonly IExecutable _executable;
    private readonly double[] _seconds;
    private readonly MachineRates _rates;

    /// <summary>Runs the step <paramref name="runs"/> times, timing every launch, and keeps each launch's median.</summary>
    public StepLedger(IExecutable executable, MachineRates rates, int runs = 9)
    {
        (_executable, _rates) = (executable, rates);
        var launches = executable.Plan.Launches.Count;
        var all = new double[launches][];
        for (var i = 0; i < launches; i++) all[i] = new double[runs];
        var once = new double[launches];
        for (var run = 0; run < runs; run++)
        {
            Array.Clear(once);
            executable.RunTimed(once);
            for (var i = 0; i < launches; i++) all[i][run] = once[i];
        }

        foreach (var values in all) Array.Sort(values);
        _seconds = [.. all.Select(v => v[runs / 2])];
    }

    public MachineRates Rates => _rates;

    /// <summary>Seconds of the whole step: the sum over launches.</summary>
    public double Seconds => _seconds.Sum();

    /// <summary>Rows by op, the slowest first.</summary>
    public IReadOnlyList<LedgerRow> ByOp() => Group(launch => ("", launch.Node.Op.Name));

    /// <summary>Rows by layer and op, the slowest first.</summary>
    public IReadOnlyList<LedgerRow> ByLayer() => Group(launch => (launch.Node.Scope, launch.Node.Op.Name));

    private List<LedgerRow> Group(Func<Core.Plan.Launch, (string Layer, string Op)> key) =>
    [
        .. _executable.Plan.Launches.Select((launch, i) => (Launch: launch, Seconds: _seconds[i], Way: _executable.WayOf(i)))
            .Where(l => l.Launch.Node.Op is not Leaf)
            .GroupBy(l => key(l.Launch))
            .Select(g => Row(g.Key.Layer, g.Key.Op, [.. g]))
            .OrderByDescending(r => r.Seconds),
    ];

    private LedgerRow Row(string layer, string op, IReadOnlyList<(Core.Plan.Launch Launch, double Seconds, string? Way)> launches)
    {
        var cost = launches.Select(l => l.Launch.Cost).Aggregate((a, b) => a + b);
        var (memory, compute, latency) = (cost.Bytes / _rates.BytesPerSecond, cost.Flops / _rates.FlopsPerSecond, launches.Count * _rates.LaunchSeconds);
        var limit = Math.Max(Math.Max(memory, compute), latency);
        var verdict = limit == latency ? Verdict.Latency : limit == memory ? Verdict.Memory : Verdict.Compute;
        var ways = launches.Where(l => l.Way is not null).GroupBy(l => l.Way!).OrderByDescending(g => g.Count()).Select(g => $"{g.Key} x{g.Count()}");
        return new LedgerRow(layer, op, launches.Count, launches.Sum(l => l.Seconds), cost, limit, verdict) { Ways = string.Join(", ", ways) };
    }
}
