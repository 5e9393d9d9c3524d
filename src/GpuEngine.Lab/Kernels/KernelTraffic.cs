using System.Globalization;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Plan;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Lab.Kernels;

/// <summary>What one case moves in one variant, counted by the simulator.</summary>
/// <param name="Case">The case.</param>
/// <param name="Variant">The variant that the launchers were held to; null for their own choice.</param>
/// <param name="Kernels">Its launches, in order.</param>
/// <param name="FloorBytes">Fewest bytes that any implementation must move, and <paramref name="RereadBytes"/>.</param>
/// <param name="RereadBytes">What the variant reads a second time by design: operands that do not fit on the chip.</param>
/// <param name="ClaimedBytes">What the launchers say that they move.</param>
/// <param name="CountedBytes">What they moved.</param>
/// <param name="DistinctBytes">The same, but each address once per launch: what is left when the caches keep everything for that long.</param>
/// <param name="Sectors">32-byte sectors touched.</param>
/// <param name="IdealSectors">The fewest that could do.</param>
/// <param name="WorstBankConflict">Most threads that met in one bank in a loop; 0 without shared memory.</param>
/// <param name="Barriers">Block barriers of a block, summed over the launches.</param>
public sealed record TrafficRow(
    KernelCase Case, string? Variant, IReadOnlyList<string> Kernels, long FloorBytes, long RereadBytes, long ClaimedBytes, long CountedBytes, long DistinctBytes,
    long Sectors, long IdealSectors, int WorstBankConflict, double Barriers)
{
    /// <summary>1 when no byte is moved twice but those that the variant is known to read again.</summary>
    public double OfFloor => (double)CountedBytes / FloorBytes;

    /// <summary>1 when a launch reads nothing that another one of the case read or wrote.</summary>
    public double DistinctOfFloor => (double)DistinctBytes / FloorBytes;

    /// <summary>What is read again, in parts of the fewest bytes of any implementation.</summary>
    public double Reread => (double)RereadBytes / (FloorBytes - RereadBytes);

    /// <summary>1 when every sector is used whole.</summary>
    public double OfIdealSectors => IdealSectors == 0 ? 1 : (double)Sectors / IdealSectors;

    /// <summary>1 when the claim is exact.</summary>
    public double OfClaim => (double)CountedBytes / ClaimedBytes;
}

/// <summary>
/// Counts what the kernels move on the simulator, each case in every variant that its launchers can plan. The numbers depend on
/// nothing but the sources, for a device of 8 multiprocessors.
/// </summary>
public static class KernelTraffic
{
    /// <summary>Rows as they are found. The process must use the simulator.</summary>
    /// <param name="cases">What to count.</param>
    /// <param name="options">How devices are opened; the variant is set for each row.</param>
    /// <param name="naive">Whether the naive variants are counted too.</param>
    public static IEnumerable<TrafficRow> Measure(IEnumerable<KernelCase> cases, CudaDeviceOptions? options = null, bool naive = true)
    {
        options ??= new CudaDeviceOptions();
        SimulatorChecks.Set("multiprocessors", "8");
        // From the start, so that kernels are compiled for counting only.
        using var checks = new SimulatorChecks("traffic");
        using var device = new CudaDevice(0, options);
        var work = cases.SelectMany(c => Ways(c, device.Limits).Where(v => naive || v != "naive").Select(v => (Case: c, Variant: v))).ToArray();
        device.Library.Compile(work.SelectMany(w => Kernels(w.Case, device.Limits with { Variant = w.Variant }).SelectMany(k => k.Requests)));
        foreach (var (c, variant) in work) yield return Measure(c, options with { Variant = variant }, checks);
    }

    /// <summary>The table of README.md: one line per case and variant.</summary>
    public static string Markdown(IEnumerable<TrafficRow> rows)
    {
        var text = new System.Text.StringBuilder();
        text.Append("| case | variant | kernels | read again | of floor | distinct | of claim | of fewest sectors | bank conflict |\n|---|---|---|---|---|---|---|---|---|\n");
        foreach (var row in rows)
        {
            var kernels = row.Kernels.Count <= 3 ? string.Join(", ", row.Kernels) : $"{row.Kernels.Count} launches";
            var conflict = row.WorstBankConflict switch { 0 => "", 1 => "none", var ways => $"{ways}-way" };
            text.Append(
                CultureInfo.InvariantCulture,
                $"| {row.Case.Label} | {row.Variant} | {kernels} | {(row.RereadBytes == 0 ? "" : row.Reread.ToString("F2", CultureInfo.InvariantCulture))} | {row.OfFloor:F3} | {row.DistinctOfFloor:F3} | {row.OfClaim:F3} | {row.OfIdealSectors:F3} | {conflict} |\n");
        }

        return text.ToString();
    }

    /// <summary>The compiled kernels of a case in all its variants; needs no device.</summary>
    internal static IEnumerable<KernelRequest> Requests(KernelCase c)
    {
        var limits = new CudaLimits();
        return Ways(c, limits).SelectMany(w => Kernels(c, limits with { Variant = w })).SelectMany(k => k.Requests);
    }

    private static TrafficRow Measure(KernelCase c, CudaDeviceOptions options, SimulatorChecks checks)
    {
        var program = c.Build(c.Shape);
        using var device = new CudaDevice(0, options);
        using var evaluation = new Evaluation(device, program.ToProgram());
        var plan = evaluation.Executable.Plan;
        foreach (var input in plan.Program.Inputs) evaluation.Executable.Write(TensorProgram.InputName(input), RandomOperands.Of(input.Type, program.IndexLimit));
        foreach (var variable in plan.Program.Variables) evaluation.Variables.Write(variable, RandomOperands.Of(variable.Type, program.IndexLimit));
        // Constants are filled at the first run.
        evaluation.Run();
        checks.ClearCounters();
        evaluation.Run();
        var launches = checks.Launches;
        CudaKernel[] kernels = [.. plan.Launches.Where(l => l.Node.Op is not Core.Graph.Leaf).Select(l => CudaKernels.Create(l.Node, device.Limits)!)];
        var claimed = kernels.Sum(k => k.Cost.Bytes);
        return new TrafficRow(
            c, options.Variant, [.. launches.Select(l => l.Kernel)], Floor(c, program, kernels), Reread(kernels), claimed, launches.Sum(l => l.Bytes),
            launches.Sum(l => l.DistinctBytes), launches.Sum(l => l.Sectors), launches.Sum(l => l.IdealSectors), launches.Select(l => l.WorstBankConflict).DefaultIfEmpty(0).Max(),
            launches.Sum(l => (double)l.Barriers / l.Blocks));
    }

    /// <summary>What the planned kernels of a case say that they move, beside their floor; needs no device.</summary>
    internal static (long Claimed, long Floor) Claim(KernelCase c, CudaLimits limits)
    {
        var kernels = Kernels(c, limits);
        return (kernels.Where(k => k.Node.Op is not Core.Graph.Leaf).Sum(k => k.Cost.Bytes), Floor(c, c.Build(c.Shape), kernels));
    }

    /// <summary>The launchers' own choice, then every variant that plans something else.</summary>
    private static List<string?> Ways(KernelCase c, CudaLimits limits)
    {
        string Decision(string? variant) => string.Join(" | ", Kernels(c, limits with { Variant = variant }).Select(k => k.Decision));
        var decisions = new HashSet<string> { Decision(null) };
        var names = Kernels(c, limits).SelectMany(k => LauncherChoices.Of(k.Node, limits).Variants).Distinct();
        return [null, .. names.Where(name => decisions.Add(Decision(name)))];
    }

    private static long Floor(KernelCase c, CaseProgram program, IEnumerable<CudaKernel> kernels) =>
        program.FloorBytes(c.Shape.Elements) + Reread(kernels);

    private static long Reread(IEnumerable<CudaKernel> kernels) => kernels.Sum(k => k.RereadBytes);

    private static CudaKernel[] Kernels(KernelCase c, CudaLimits limits)
    {
        var target = new CudaPlanTarget(limits, new CudaDeviceOptions());
        return [.. Planner.Plan(c.Build(c.Shape).ToProgram(), target).Launches.Select(l => target.NewKernel(l.Node))];
    }
}
