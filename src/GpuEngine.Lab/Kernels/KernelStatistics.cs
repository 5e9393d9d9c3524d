using System.Globalization;
using System.Text.RegularExpressions;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab.Kernels;

/// <summary>
/// What an entry takes of a multiprocessor. On a GPU the driver tells; without one, PTX tells what is settled before registers are
/// assigned, and the rest is null.
/// </summary>
/// <param name="Kernel">The entry.</param>
/// <param name="Variant">Its constants.</param>
/// <param name="Threads">Threads of a block that occupancy is told for.</param>
/// <param name="SharedBytes">Shared memory declared in the kernel, per block.</param>
/// <param name="LocalBytes">Local memory per thread: on a GPU spills and indexed arrays, in PTX indexed arrays alone.</param>
/// <param name="Registers">Registers per thread; null without a GPU.</param>
/// <param name="MaxThreads">Most threads of a block; null without a GPU.</param>
/// <param name="BlocksPerMultiprocessor">Blocks that run at a time on one multiprocessor; null without a GPU.</param>
/// <param name="Occupancy">Their share of the threads that it can hold; null without a GPU.</param>
public sealed record KernelStatisticsRow(
    CatalogKernel Kernel, KernelVariant Variant, int Threads, long SharedBytes, long LocalBytes, int? Registers, int? MaxThreads,
    int? BlocksPerMultiprocessor, double? Occupancy);

/// <summary>Registers, memory and occupancy of catalog entries.</summary>
public static partial class KernelStatistics
{
    private const int DefaultThreads = 256;

    /// <summary>From the driver of a real device.</summary>
    public static IEnumerable<KernelStatisticsRow> OnDevice(IReadOnlyList<CatalogKernel> kernels, CudaDevice device)
    {
        device.Library.Compile(kernels.SelectMany(k => k.Variants.Select(k.Request)));
        foreach (var kernel in kernels)
        {
            foreach (var variant in kernel.Variants)
            {
                CudaFunction function = device.Library.Function(kernel.Request(variant));
                var threads = Math.Min(Threads(variant), function.MaxThreadsPerBlock);
                var blocks = function.MaxActiveBlocksPerMultiprocessor(threads, 0);
                yield return new KernelStatisticsRow(
                    kernel, variant, threads, function.StaticSharedBytes, function.LocalBytes, function.Registers, function.MaxThreadsPerBlock, blocks,
                    (double)blocks * threads / device.Limits.ThreadsPerMultiprocessor);
            }
        }
    }

    /// <summary>From the PTX of the gate for sm_90.</summary>
    public static IEnumerable<KernelStatisticsRow> FromPtx(IEnumerable<CompiledVariant> compiled)
    {
        foreach (var c in compiled)
        {
            if (c.Ptx.FirstOrDefault(p => p.Architecture == "sm_90")?.Ptx is not { } ptx) continue;
            var (shared, local, threads) = Read(ptx, c.Kernel.Entry);
            yield return new KernelStatisticsRow(c.Kernel, c.Variant, threads > 0 ? threads : Threads(c.Variant), shared, local, null, null, null, null);
        }
    }

    /// <summary>Shared bytes that the entry names, bytes of its local depot, and the threads that it is bound to (0: unbound).</summary>
    internal static (long Shared, long Local, int Threads) Read(string ptx, string entry)
    {
        var start = ptx.IndexOf($".entry {entry}(", StringComparison.Ordinal);
        if (start < 0) return default;
        var end = ptx.IndexOf("\n}", start, StringComparison.Ordinal);
        var body = ptx[start..(end < 0 ? ptx.Length : end)];
        var names = Name().Matches(body).Select(m => m.Value).ToHashSet();
        var shared = SharedVariable().Matches(ptx).Where(m => names.Contains(m.Groups["name"].Value))
            .Sum(m => Number(m.Groups["bits"]) / 8 * (m.Groups["count"].Success ? Number(m.Groups["count"]) : 1));
        var bound = ThreadBound().Match(body);
        return (shared, LocalArray().Matches(body).Sum(m => Number(m.Groups[1])), bound.Success ? (int)Number(bound.Groups[1]) : 0);
    }

    private static long Number(Group group) => long.Parse(group.Value, CultureInfo.InvariantCulture);

    private static int Threads(KernelVariant variant) =>
        variant.Defines.Where(d => d.Name == "THREADS").Select(d => int.Parse(d.Value, CultureInfo.InvariantCulture)).FirstOrDefault(DefaultThreads);

    [GeneratedRegex(@"\.shared \.align \d+ \.[busf](?<bits>\d+) (?<name>[\w$]+)(?:\[(?<count>\d+)\])?;")]
    private static partial Regex SharedVariable();

    [GeneratedRegex(@"\.local \.align \d+ \.b8\s+[\w$]+\[(\d+)\]")]
    private static partial Regex LocalArray();

    [GeneratedRegex(@"\.maxntid (\d+)")]
    private static partial Regex ThreadBound();

    [GeneratedRegex(@"[\w$]+")]
    private static partial Regex Name();
}
