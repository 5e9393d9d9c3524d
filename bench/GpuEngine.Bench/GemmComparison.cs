using System.Diagnostics;
using System.Runtime.InteropServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Bench;

/// <summary>
/// Our SGEMM beside those installed on the machine: one process, the same matrices of random numbers, providers in
/// turn (A B C A B C ...), medians over the rounds. A noisy neighbour thus hits everyone alike; where it hits hard,
/// the ratio of the best rounds says more than that of the medians.
/// </summary>
internal static unsafe class GemmComparison
{
    private const int Rounds = 15;
    private const double SecondsPerTurn = 0.03;
    // Workers of OpenBLAS and OpenMP keep spinning after a call; they must not do it on our cores.
    private static readonly TimeSpan Settle = TimeSpan.FromMilliseconds(40);

    /// <summary>Arguments: sizes ("512" or "128x784x512" as m x k x n), "--threads 1,2", "--kernel Avx2".</summary>
    public static int Run(string[] arguments)
    {
        var threads = new List<int> { 1, CpuPool.DefaultThreads };
        var sizes = new List<string>();
        var kernel = GemmKernel.Auto;
        for (var i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] == "--threads") threads = [.. arguments[++i].Split(',').Select(int.Parse)];
            else if (arguments[i] == "--kernel") kernel = Enum.Parse<GemmKernel>(arguments[++i]);
            else sizes.Add(arguments[i]);
        }
        if (sizes.Count == 0) sizes = ["32", "64", "96", "128", "256", "512", "1024", "2048"];
        var peers = NativeSgemm.Installed().ToList();
        var ours = GemmPlan.Create<float>(new GemmProblem(64, 64, 64), new GemmOptions { Kernel = kernel }).Kernel;
        var names = peers.Select(p => p.Name).Prepend($"GpuEngine {ours}");
        var heads = string.Join("  ", names.Select(n => $"{n,20}"));
        Console.WriteLine($"{"m x k x n",-16} threads  {heads}  ratio  of best   (GFLOP/s, medians)");
        foreach (var count in threads.Distinct())
        {
            using var pool = new CpuPool(count);
            foreach (var peer in peers) peer.SetThreads(count);
            foreach (var size in sizes) Compare(size, count, kernel, pool, peers);
        }
        return 0;
    }

    private static void Compare(string size, int threads, GemmKernel kernel, CpuPool pool, List<NativeSgemm> peers)
    {
        var mkn = size.Split('x').Select(int.Parse).ToArray();
        var (m, k, n) = mkn.Length == 3 ? (mkn[0], mkn[1], mkn[2]) : (mkn[0], mkn[0], mkn[0]);
        var options = new GemmOptions { Workers = threads, Kernel = kernel };
        var plan = GemmPlan.Create<float>(new GemmProblem(m, n, k), options);
        var random = new Random(1);
        var a = Random(m * (long)k, random);
        var b = Random(k * (long)n, random);
        var c = Random(m * (long)n, random);
        var workspace = NativeMemory.AlignedAlloc((nuint)plan.WorkspaceBytes + 64, 64);
        var turns = new List<Action<int>>
        {
            repeats =>
            {
                for (var i = 0; i < repeats; i++) plan.Execute(a, b, c, null, workspace, pool);
            },
        };
        foreach (var peer in peers)
        {
            turns.Add(repeats =>
            {
                for (var i = 0; i < repeats; i++) peer.Multiply(m, n, k, a, b, c);
            });
        }
        var flops = 2.0 * m * n * k;
        var rates = turns.Select(_ => new List<double>()).ToArray();
        var counts = turns.Select(turn => Calibrate(turn)).ToArray();
        for (var round = 0; round < Rounds; round++)
        {
            for (var i = 0; i < turns.Count; i++)
            {
                if (threads > 1) Thread.Sleep(Settle);
                turns[i](Math.Max(1, counts[i] / 4));
                var watch = Stopwatch.StartNew();
                turns[i](counts[i]);
                rates[i].Add(flops * counts[i] / watch.Elapsed.TotalSeconds / 1e9);
            }
        }
        var medians = rates.Select(Median).ToArray();
        var best = rates.Select(r => r[^1]).ToArray();
        var columns = string.Join("  ", medians.Select(v => $"{v,20:F1}"));
        Console.WriteLine($"{$"{m} x {k} x {n}",-16} {threads,7}  {columns}  {Ratio(medians),5}  {Ratio(best),7}");
        NativeMemory.AlignedFree(a);
        NativeMemory.AlignedFree(b);
        NativeMemory.AlignedFree(c);
        NativeMemory.AlignedFree(workspace);
    }

    /// <summary>How many calls fill one turn; also the warm-up, in which the JIT finishes its work.</summary>
    private static int Calibrate(Action<int> turn)
    {
        var watch = Stopwatch.StartNew();
        var count = 0;
        while (watch.Elapsed.TotalSeconds < 10 * SecondsPerTurn || count < 2)
        {
            turn(1);
            count++;
        }
        return Math.Max(1, count / 10);
    }

    /// <summary>Ours to the best of the others.</summary>
    private static string Ratio(double[] rates) =>
        rates.Length > 1 ? (rates[0] / rates.Skip(1).Max()).ToString("F2") : "-";

    /// <summary>Leaves the values sorted.</summary>
    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }

    private static float* Random(long count, Random random)
    {
        var data = (float*)NativeMemory.AlignedAlloc((nuint)(count * sizeof(float)), 64);
        for (var i = 0L; i < count; i++) data[i] = random.NextSingle() - 0.5f;
        return data;
    }
}
