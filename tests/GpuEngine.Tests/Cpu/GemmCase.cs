using System.Numerics;
using System.Runtime.InteropServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using Xunit;

namespace GpuEngine.Tests.Cpu;

/// <summary>
/// One product on seeded random data, run by a plan and compared with a plain product in double. Every buffer stands
/// between guard bands, C between its rows too, and what C may not be read is NaN beforehand.
/// </summary>
internal sealed unsafe class GemmCase<T> : IDisposable
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private const int Guard = 64;
    private readonly T _sentinel = T.CreateTruncating(-777.5);
    private readonly List<nint> _blocks = [];
    private readonly nint _lda;
    private readonly nint _ldb;
    private readonly nint _ldc;

    public GemmCase(GemmProblem problem, GemmOptions options, int seed = 1)
    {
        Problem = problem;
        Options = options;
        Plan = GemmPlan.Create<T>(problem, options);
        _lda = problem.Lda != 0 ? problem.Lda : problem.TransA ? problem.M : problem.K;
        _ldb = problem.Ldb != 0 ? problem.Ldb : problem.TransB ? problem.K : problem.N;
        _ldc = problem.Ldc != 0 ? problem.Ldc : problem.N;
        var random = new Random(seed);
        var batches = Math.Max(1, problem.Batch);
        SizeA = (nint)(((batches - 1) * problem.StrideA) + (_lda * (problem.TransA ? problem.K : problem.M)));
        SizeB = (nint)(((batches - 1) * problem.StrideB) + (_ldb * (problem.TransB ? problem.N : problem.K)));
        SizeC = (nint)(((batches - 1) * problem.StrideC) + (_ldc * problem.M));
        SizeBias = (nint)(((batches - 1) * options.BiasStride) + Math.Max(problem.M, problem.N));
        A = Buffer(SizeA, random);
        B = Buffer(SizeB, random);
        C = Buffer(SizeC, random);
        Bias = Buffer(SizeBias, random);
        Initial = new Span<T>(C, (int)SizeC).ToArray();
        Workspace = (byte*)NativeMemory.AlignedAlloc((nuint)(Plan.WorkspaceBytes + Guard), 64);
        _blocks.Add((nint)Workspace);
        new Span<byte>(Workspace + Plan.WorkspaceBytes, Guard).Fill(0xA5);
    }

    public GemmProblem Problem { get; }

    public GemmOptions Options { get; }

    public GemmPlan<T> Plan { get; }

    public T* A { get; }

    public T* B { get; }

    public T* C { get; }

    public T* Bias { get; }

    public byte* Workspace { get; }

    public nint SizeA { get; }

    public nint SizeB { get; }

    public nint SizeC { get; }

    public nint SizeBias { get; }

    public T[] Initial { get; }

    /// <summary>Runs the plan from the initial C; elements that it must not read are NaN.</summary>
    public T[] Run(CpuPool? pool = null)
    {
        Initial.CopyTo(new Span<T>(C, (int)SizeC));
        ForEach((batch, i, j) =>
        {
            if (!Problem.Accumulate) C[IndexC(batch, i, j)] = T.NaN;
        });
        // Rubbish from an earlier use must not matter.
        new Span<byte>(Workspace, (int)Plan.WorkspaceBytes).Fill(0xFF);
        Plan.Execute(A, B, C, Options.Bias == GemmBias.None ? null : Bias, Workspace, pool);
        return new Span<T>(C, (int)SizeC).ToArray();
    }

    /// <summary>
    /// Compares with the product in double. A sum of n rounded operations is off by at most n u/(1 - n u) times the
    /// sum of the magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1; u is half an ulp
    /// of 1, any order of summation). Here n is k products and additions plus old C and bias; the reference in double
    /// commits the same error in double, which matters when T is double, hence the sum of both.
    /// </summary>
    public void Check(T[] result)
    {
        var u = (typeof(T) == typeof(float) ? Math.Pow(2, -24) : Math.Pow(2, -53)) + Math.Pow(2, -53);
        var expected = Initial.Select(double.CreateTruncating).ToArray();
        var operations = (2.0 * Problem.K) + 4;
        var rows = Enumerable.Range(0, Problem.Batch).Select(Rows).ToArray();
        var columns = Enumerable.Range(0, Problem.Batch).Select(Columns).ToArray();
        ForEach((batch, i, j) =>
        {
            var at = IndexC(batch, i, j);
            var (sum, magnitude) = Reference(batch, i, j, rows[batch][i], columns[batch][j]);
            expected[at] = sum;
            var allowed = operations * u / (1 - (operations * u)) * magnitude;
            var error = Math.Abs(double.CreateTruncating(result[at]) - sum);
            // Not `error > allowed`: NaN has to fail.
            if (!(error <= allowed))
            {
                Assert.Fail($"{Problem} {Options}: C[{batch},{i},{j}] is {result[at]}, expected {sum}, "
                    + $"off by {error / allowed} of the bound");
            }
        });
        for (nint at = 0; at < SizeC; at++)
        {
            // What lies between the rows and batches of C is not ours.
            if (expected[at] == double.CreateTruncating(Initial[at]) && result[at] != Initial[at])
                Assert.Fail($"{Problem} {Options}: element {at} lies outside C and was changed to {result[at]}");
        }
        CheckGuards();
    }

    public void Dispose()
    {
        foreach (var block in _blocks) NativeMemory.AlignedFree((void*)block);
    }

    public nint IndexC(int batch, int i, int j) => (batch * Problem.StrideC) + (i * _ldc) + j;

    public double ValueA(int batch, int i, int k) =>
        double.CreateTruncating(A[(batch * Problem.StrideA) + (Problem.TransA ? (k * _lda) + i : (i * _lda) + k)]);

    public double ValueB(int batch, int k, int j) =>
        double.CreateTruncating(B[(batch * Problem.StrideB) + (Problem.TransB ? (j * _ldb) + k : (k * _ldb) + j)]);

    private (double Sum, double Magnitude) Reference(int batch, int i, int j, double[] row, double[] column)
    {
        double sum = 0, magnitude = 0;
        for (var k = 0; k < row.Length; k++)
        {
            var product = row[k] * column[k];
            sum += product;
            magnitude += Math.Abs(product);
        }
        var rest = Problem.Accumulate ? double.CreateTruncating(Initial[IndexC(batch, i, j)]) : 0;
        sum += rest;
        magnitude += Math.Abs(rest);
        if (Options.Bias != GemmBias.None)
        {
            var index = (batch * Options.BiasStride) + (Options.Bias == GemmBias.PerColumn ? j : i);
            var bias = double.CreateTruncating(Bias[index]);
            sum += bias;
            magnitude += Math.Abs(bias);
        }
        return (Options.Activation == GemmActivation.Relu ? Math.Max(0, sum) : sum, magnitude);
    }

    private double[][] Rows(int batch) =>
        [.. Enumerable.Range(0, Problem.M).Select(i => Vector(k => ValueA(batch, i, k)))];

    private double[][] Columns(int batch) =>
        [.. Enumerable.Range(0, Problem.N).Select(j => Vector(k => ValueB(batch, k, j)))];

    private double[] Vector(Func<int, double> value) => [.. Enumerable.Range(0, Problem.K).Select(value)];

    private void ForEach(Action<int, int, int> visit)
    {
        for (var batch = 0; batch < Problem.Batch; batch++)
        {
            for (var i = 0; i < Problem.M; i++)
            {
                for (var j = 0; j < Problem.N; j++) visit(batch, i, j);
            }
        }
    }

    private T* Buffer(nint size, Random random)
    {
        var block = (T*)NativeMemory.AlignedAlloc((nuint)((size + (2 * Guard)) * sizeof(T)), 64);
        _blocks.Add((nint)block);
        new Span<T>(block, (int)size + (2 * Guard)).Fill(_sentinel);
        for (nint i = 0; i < size; i++) block[Guard + i] = T.CreateTruncating((2 * random.NextDouble()) - 1);
        return block + Guard;
    }

    private void CheckGuards()
    {
        (nint Data, nint Size)[] buffers =
            [((nint)A, SizeA), ((nint)B, SizeB), ((nint)C, SizeC), ((nint)Bias, SizeBias)];
        foreach (var (data, size) in buffers)
        {
            for (var i = 1; i <= Guard; i++)
            {
                Assert.Equal(_sentinel, ((T*)data)[-i]);
                Assert.Equal(_sentinel, ((T*)data)[size + i - 1]);
            }
        }
        for (var i = 0; i < Guard; i++) Assert.Equal(0xA5, Workspace[Plan.WorkspaceBytes + i]);
    }
}
