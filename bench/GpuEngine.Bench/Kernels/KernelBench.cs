using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Bench.Kernels;

/// <summary>
/// `GpuEngine.Bench kernels [--only NAME,...] [--device cuda|sim] [--peer eager,compiled,cudnn|none] [--python PATH] [--variants]
/// [--tune NAME=N,...]... [--seconds S] [--within S] [--json FILE] [--list]`: kernels beside the copy rate of their footprint and beside
/// PyTorch, in one run. Cold: so many sets of operands that they exceed the cache three times; warm: one set, where it fits.
/// </summary>
internal static class KernelBench
{
    private static readonly JsonSerializerOptions Layout = new() { WriteIndented = true };

    public static int Run(string[] arguments)
    {
        try
        {
            return Run(KernelBenchOptions.Parse(arguments));
        }
        catch (UserException exception)
        {
            Console.Error.WriteLine($"GpuEngine.Bench kernels: {exception.Message}");
            return 2;
        }
    }

    private static int Run(KernelBenchOptions options)
    {
        var cases = KernelCases.Timed.Where(c => options.Only.Count == 0 ? !c.Extra : options.Only.Any(c.Matches)).ToArray();
        if (cases.Length == 0) throw new UserException($"--only {string.Join(',', options.Only)} matches no case; --list prints them.");
        if (options.List)
        {
            foreach (var c in KernelCases.Timed) Console.WriteLine($"row{c.Row,-3} {c.Label}{(c.Extra ? "  (only by name)" : "")}");
            return 0;
        }

        var simulated = options.Device == "sim";
        if (simulated) Simulator.Use();
        using var peer = options.Peers.Count == 0 ? null : new KernelPeer(options.Python, simulated ? "cpu" : "cuda");
        using var run = new KernelBenchRun(options, peer);
        var rows = new JsonArray();
        var failed = 0;
        Console.WriteLine($"# {run.Description}; {peer?.Version ?? "no peer"}");
        Console.WriteLine(simulated ? "# simulated: tiny shapes, run and not timed" : KernelRow.Header(options.Peers));
        var started = Stopwatch.StartNew();
        run.Compile(cases);
        Console.WriteLine($"# kernels compiled or found in {started.Elapsed.TotalSeconds:F1} s");
        var left = 0;
        foreach (var c in cases)
        {
            if (started.Elapsed.TotalSeconds > options.Within)
            {
                left++;
                continue;
            }

            try
            {
                foreach (var row in run.Measure(c))
                {
                    Console.WriteLine(simulated ? row.Outcome : row.Line(options.Peers));
                    rows.Add(row.ToJson());
                }
            }
            catch (Exception exception) when (exception is not UserException)
            {
                // The others are still wanted: time on the machine is dear.
                failed++;
                Console.WriteLine($"{c.Label}: {exception.GetType().Name}: {exception.Message.Split('\n')[0]}");
                rows.Add(new JsonObject { ["case"] = c.Label, ["failure"] = exception.Message });
            }
        }

        Console.WriteLine(
            $"# {cases.Length - left} cases in {started.Elapsed.TotalSeconds:F0} s{(failed > 0 ? $", {failed} failed" : "")}" +
            $"{(left > 0 ? $"; {left} not begun within {options.Within} s" : "")}");
        if (options.Json is { } file)
        {
            var result = new JsonObject { ["machine"] = run.Description, ["peer"] = peer?.Version, ["timed"] = !simulated, ["cases"] = rows };
            File.WriteAllText(file, result.ToJsonString(Layout) + "\n");
        }

        return failed == 0 ? 0 : 1;
    }
}

/// <summary>Measures cases on one device.</summary>
internal sealed class KernelBenchRun : IDisposable
{
    private const int MostSets = 320;

    private static readonly Dictionary<string, int> NoTuning = [];

    private readonly KernelBenchOptions _options;
    private readonly KernelPeer? _peer;
    private readonly CudaDevice _device;
    private readonly ReplayTimer _timer;
    private readonly bool _simulated;

    public KernelBenchRun(KernelBenchOptions options, KernelPeer? peer)
    {
        (_options, _peer) = (options, peer);
        _simulated = options.Device == "sim";
        _device = new CudaDevice();
        _timer = new ReplayTimer(_device, _simulated ? 0 : options.Seconds);
    }

    /// <summary>The machine, for the head of the table.</summary>
    public string Description =>
        $"{_device.Context.Properties.Name}, {_device.Limits.Multiprocessors} multiprocessors, L2 {_device.Limits.L2Bytes >> 20} MiB, {_options.Seconds} s per figure";

    private long WorkingSet => _simulated ? 1 : 3 * _device.Limits.L2Bytes;

    /// <summary>Compiles what the cases need, on all cores.</summary>
    public void Compile(IEnumerable<KernelCase> cases)
    {
        try
        {
            _device.Library.Compile(cases.SelectMany(c => Requests(c.Build(_simulated ? c.Tiny : c.Shape))));
        }
        catch (KernelCompileException)
        {
            // The case that needs the kernel will say so.
        }
    }

    /// <summary>A row per variant and tuning; the launcher's own choice first, with the peer beside it.</summary>
    public IEnumerable<KernelRow> Measure(KernelCase c)
    {
        var shape = _simulated ? c.Tiny : c.Shape;
        var program = c.Build(shape);
        var choices = Choices(program);
        var first = Own(c, program, null, NoTuning);
        var (copy, warmCopy) = Copy(first.FloorBytes, first.Sets, first.Warm is not null);
        first = first with { Copy = copy, WarmCopy = warmCopy, Tunable = Describe(choices) };
        if (_peer is not null) first = first with { Peers = [.. _options.Peers.Select(form => _peer.Measure(c, shape, form, first.Sets, first.Warm is not null, _simulated ? 0 : _options.Seconds))] };
        yield return first;

        foreach (var variant in Variants(program)) yield return Own(c, program, variant, NoTuning) with { Copy = copy, WarmCopy = warmCopy };
        foreach (var (variant, tuning) in Asked(choices)) yield return Own(c, program, variant, tuning) with { Copy = copy, WarmCopy = warmCopy };
    }

    public void Dispose() => _device.Dispose();

    private KernelRow Own(KernelCase c, CaseProgram program, string? variant, IReadOnlyDictionary<string, int> tuning)
    {
        var own = variant is null && tuning.Count == 0;
        var device = own ? _device : new CudaDevice(0, new CudaDeviceOptions { Variant = variant, Tuning = tuning });
        try
        {
            var timer = own ? _timer : new ReplayTimer(device, _simulated ? 0 : _options.Seconds);
            using var replay = new RotatingReplay(device, program, WorkingSet, MostSets);
            return new KernelRow(c, program.FloorBytes((_simulated ? c.Tiny : c.Shape).Elements), variant, tuning, Described(program, variant, tuning))
            {
                Cold = timer.Measure(replay.Sets, replay.Launch),
                Warm = replay.BytesPerSet * 2 < _device.Limits.L2Bytes ? timer.Measure(1, _ => replay.Launch(0)) : null,
                Sets = replay.Sets,
                SetBytes = replay.BytesPerSet,
            };
        }
        finally
        {
            if (!own) device.Dispose();
        }
    }

    private LauncherChoices[] Choices(CaseProgram program) =>
        [.. Planned(program, _device.PlanTarget).Launches.Select(l => LauncherChoices.Of(l.Node, _device.Limits))];

    /// <summary>Variants that plan something of their own; one that does not fit the shape plans what another does.</summary>
    private IEnumerable<string> Variants(CaseProgram program)
    {
        if (!_options.Variants) return [];
        var seen = new HashSet<string> { Described(program, null, NoTuning) };
        return Choices(program).SelectMany(c => c.Variants).Distinct().Where(v => seen.Add(Described(program, v, NoTuning)));
    }

    /// <summary>The variants and tunings that were asked for by name.</summary>
    private IEnumerable<(string? Variant, IReadOnlyDictionary<string, int> Tuning)> Asked(LauncherChoices[] choices)
    {
        var tunings = _options.Tunings.Where(t => t.Keys.Any(k => choices.Any(c => c.Numbers.ContainsKey(k)))).ToArray();
        if (_options.Variant.Count == 0) return tunings.Select(t => ((string?)null, t));
        return _options.Variant.SelectMany(v => tunings.Prepend(NoTuning).Select(t => ((string?)v, t)));
    }

    private IEnumerable<KernelRequest> Requests(CaseProgram program)
    {
        CudaPlanTarget[] targets = [_device.PlanTarget, .. Variants(program).Select(v => Target(v, NoTuning)), .. Asked(Choices(program)).Select(a => Target(a.Variant, a.Tuning))];
        return targets.SelectMany(t => Planned(program, t).Launches.SelectMany(l => t.NewKernel(l.Node).Requests));
    }

    /// <summary>What launchers decide, in words by which two plans are told apart.</summary>
    private string Described(CaseProgram program, string? variant, IReadOnlyDictionary<string, int> tuning)
    {
        var target = Target(variant, tuning);
        return string.Join(" | ", Planned(program, target).Launches.Select(l => target.NewKernel(l.Node).Decision));
    }

    private CudaPlanTarget Target(string? variant, IReadOnlyDictionary<string, int> tuning) =>
        new(_device.Limits with { Variant = variant, Tuning = tuning }, _device.Options);

    private static ExecutionPlan Planned(CaseProgram program, CudaPlanTarget target) =>
        Planner.Plan(program.ToProgram(), target);

    /// <summary>Copying half of the floor to the other half: the faster of our copy kernel and the driver's.</summary>
    private (Timing Cold, Timing? Warm) Copy(long floor, int sets, bool warm)
    {
        var elements = (int)Math.Clamp(floor / 2 / sizeof(float), 1, int.MaxValue);
        var x = F.Input("x", DType.F32, [1, elements]);
        var program = new CaseProgram([new("y", F.Relu(x))], floor);
        using var kernel = new RotatingReplay(_device, program, (long)sets * 2 * x.Type.Bytes, sets);
        var memory = Enumerable.Range(0, sets).Select(_ => _device.Context.Allocate(2 * x.Type.Bytes, "copy")).ToArray();
        try
        {
            foreach (var m in memory) RotatingReplay.Fill(_device, m.Span<byte>(), x.Type, 0);
            void Driver(int run)
            {
                var m = memory[run % sets];
                _device.Stream.Copy<byte>(m.Span<byte>(0, x.Type.Bytes), m.Span<byte>(x.Type.Bytes, x.Type.Bytes));
            }

            Timing Faster(int count, Action<int> a, Action<int> b) =>
                new[] { _timer.Measure(count, a), _timer.Measure(count, b) }.MinBy(t => t.Median);
            return (Faster(sets, kernel.Launch, Driver), warm ? Faster(1, _ => kernel.Launch(0), _ => Driver(0)) : null);
        }
        finally
        {
            foreach (var m in memory) m.Dispose();
        }
    }

    private static string Describe(LauncherChoices[] choices)
    {
        var variants = choices.SelectMany(c => c.Variants).Distinct().ToArray();
        var numbers = choices.SelectMany(c => c.Numbers).DistinctBy(n => n.Key).Select(n => $"{n.Key}={n.Value}").ToArray();
        return string.Join("; ", new[] { string.Join(' ', variants), string.Join(' ', numbers) }.Where(s => s.Length > 0));
    }
}
