using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Bench;

/// <summary>
/// Our SGEMM alone, in microseconds and bytes allocated: squares, and the three products of a linear layer of 784
/// inputs and 10 outputs at batch 128 (forward, weight gradient, input gradient). `bench/gemm.sh` compares with other
/// libraries.
/// </summary>
[MemoryDiagnoser]
public unsafe class GemmBench : IDisposable
{
    private CpuPool? _pool;
    private GemmPlan<float>? _plan;
    private float* _a;
    private float* _b;
    private float* _c;
    private void* _workspace;

    [Params("64", "128", "512", "1024", "128x784x10 B'", "10x128x784 A'", "128x10x784")]
    public string Product { get; set; } = "";

    [Params(1, 2)]
    public int Threads { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        var parts = Product.Split(' ');
        var sizes = parts[0].Split('x').Select(int.Parse).ToArray();
        var (m, k, n) = sizes.Length == 3 ? (sizes[0], sizes[1], sizes[2]) : (sizes[0], sizes[0], sizes[0]);
        var problem = new GemmProblem(m, n, k) { TransA = parts[^1] == "A'", TransB = parts[^1] == "B'" };
        _pool = new CpuPool(Threads);
        _plan = GemmPlan.Create<float>(problem, new GemmOptions { Workers = Threads });
        _a = Random(m * k);
        _b = Random(k * n);
        _c = Random(m * n);
        _workspace = NativeMemory.AlignedAlloc((nuint)_plan.WorkspaceBytes + 64, 64);
    }

    [Benchmark]
    public void Execute() => _plan!.Execute(_a, _b, _c, null, _workspace, _pool);

    [GlobalCleanup]
    public void Dispose()
    {
        _pool!.Dispose();
        NativeMemory.AlignedFree(_a);
        NativeMemory.AlignedFree(_b);
        NativeMemory.AlignedFree(_c);
        NativeMemory.AlignedFree(_workspace);
        GC.SuppressFinalize(this);
    }

    private static float* Random(int count)
    {
        var random = new Random(1);
        var data = (float*)NativeMemory.AlignedAlloc((nuint)count * sizeof(float), 64);
        for (var i = 0; i < count; i++) data[i] = random.NextSingle() - 0.5f;
        return data;
    }
}
