using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using Xunit;

namespace GpuEngine.Tests.Cpu;

public class GemmTests
{
    /// <summary>The kernels of this machine.</summary>
    public static TheoryData<GemmKernel> Kernels =>
        [.. new[] { GemmKernel.Avx512, GemmKernel.Avx2, GemmKernel.Portable }.Where(GemmPlan.IsSupported)];

    // Tiles are 14 or 6 rows by 2 registers of 2 to 16 lanes; blocks are 512 deep and 4096 wide; A is packed from 1
    // MiB on (or 128 KiB when its rows collide), B from 512 KiB; inner products serve up to 16 rows or 4 columns with
    // a transposed B.
    private static readonly (int M, int N, int K)[] Shapes =
    [
        (1, 1, 1), // all edges at once
        (1, 33, 5), (33, 1, 5), (1, 1, 70), (2, 4, 67), (40, 3, 131), (7, 50, 16), // vectors and inner products
        (14, 32, 8), (28, 64, 20), (6, 16, 3), (12, 8, 4), // whole tiles, whole registers
        (13, 31, 7), (15, 33, 9), (29, 65, 17), (5, 15, 1), (19, 47, 30), (17, 10, 100), // one around them
        (64, 64, 64), // the small path, nothing packed
        (32, 132, 1024), // A packed because its rows collide, B packed, two blocks of k
        (30, 300, 520), // B packed, two blocks of k of unequal depth
        (520, 140, 530), // two blocks of rows, A packed
        (3, 4130, 5), (30, 4130, 40), // two blocks of columns
    ];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Products_in_float(GemmKernel kernel) => Products<float>(kernel);

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Products_in_double(GemmKernel kernel) => Products<double>(kernel);

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Rows_may_be_longer_than_the_matrix(GemmKernel kernel)
    {
        foreach (var (m, n, k) in new[] { (17, 35, 21), (4, 20, 40), (45, 300, 600), (1, 9, 4), (9, 1, 20) })
        {
            Transposes((transA, transB) => Verify<float>(
                new GemmProblem(m, n, k)
                {
                    TransA = transA,
                    TransB = transB,
                    Lda = (transA ? m : k) + 3,
                    Ldb = (transB ? k : n) + 5,
                    Ldc = n + 7,
                    Accumulate = transA,
                },
                new GemmOptions { Kernel = kernel }));
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_batch_walks_by_its_strides(GemmKernel kernel)
    {
        using var pool = new CpuPool(3);
        (int Batch, int M, int N, int K)[] shapes =
            [(2, 9, 11, 13), (7, 20, 40, 33), (2, 120, 96, 80), (2, 60, 300, 600), (5, 2, 30, 40)];
        foreach (var (batch, m, n, k) in shapes)
        {
            foreach (var shared in new[] { false, true })
            {
                Transposes((transA, transB) => Verify<float>(
                    new GemmProblem(m, n, k)
                    {
                        TransA = transA,
                        TransB = transB,
                        Batch = batch,
                        StrideA = (m * k) + 1,
                        StrideB = shared ? 0 : (k * n) + 2,
                        StrideC = (m * n) + 3,
                    },
                    new GemmOptions
                    {
                        Kernel = kernel,
                        Workers = 3,
                        Bias = GemmBias.PerRow,
                        BiasStride = shared ? 0 : m,
                    },
                    pool));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Epilogues_and_accumulation(GemmKernel kernel)
    {
        (int M, int N, int K)[] shapes =
            [(15, 37, 12), (3, 21, 40), (50, 1, 30), (1, 50, 30), (30, 260, 600), (5, 6, 0)];
        foreach (var (m, n, k) in shapes)
        {
            foreach (var bias in Enum.GetValues<GemmBias>())
            {
                foreach (var activation in Enum.GetValues<GemmActivation>())
                {
                    foreach (var accumulate in new[] { false, true })
                    {
                        Transposes((transA, transB) => Verify<double>(
                            new GemmProblem(m, n, k) { TransA = transA, TransB = transB, Accumulate = accumulate },
                            new GemmOptions { Kernel = kernel, Bias = bias, Activation = activation }));
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void The_number_of_threads_does_not_change_a_bit(GemmKernel kernel)
    {
        (int M, int N, int K)[] shapes =
            [(128, 96, 64), (300, 37, 200), (16, 1024, 257), (200, 310, 1100), (513, 130, 512), (2000, 3, 90)];
        foreach (var (m, n, k) in shapes)
        {
            Transposes((transA, transB) =>
            {
                var problem = new GemmProblem(m, n, k) { TransA = transA, TransB = transB };
                float[]? alone = null;
                foreach (var workers in new[] { 1, 2, 3 })
                {
                    using var pool = new CpuPool(workers);
                    var options = new GemmOptions { Kernel = kernel, Workers = workers };
                    using var test = new GemmCase<float>(problem, options);
                    var result = test.Run(pool);
                    alone ??= result;
                    Assert.True(alone.AsSpan().SequenceEqual(result), $"{problem} differs with {workers} workers.");
                    // A pool smaller than the plan, and none at all.
                    using var two = new CpuPool(2);
                    Assert.True(alone.AsSpan().SequenceEqual(test.Run(two)));
                    Assert.True(alone.AsSpan().SequenceEqual(test.Run()));
                }
            });
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public unsafe void NaN_and_infinity_reach_exactly_their_rows_and_columns(GemmKernel kernel)
    {
        foreach (var (m, n, k) in new[] { (20, 40, 30), (4, 20, 40), (30, 260, 600) })
        {
            Transposes((transA, transB) =>
            {
                var problem = new GemmProblem(m, n, k) { TransA = transA, TransB = transB };
                var options = new GemmOptions { Kernel = kernel, Activation = GemmActivation.Relu };
                using var test = new GemmCase<float>(problem, options);
                // Zero times infinity is NaN and must not be skipped: row 1 of A is zero, column 2 of B has an
                // infinity.
                for (var p = 0; p < k; p++) test.A[transA ? (p * m) + 1 : k + p] = 0;
                test.B[transB ? (2 * k) + 3 : (3 * n) + 2] = float.PositiveInfinity;
                test.A[transA ? (5 * m) + 3 : (3 * k) + 5] = float.NaN;
                var result = test.Run();
                for (var i = 0; i < m; i++)
                {
                    for (var j = 0; j < n; j++)
                    {
                        var value = result[(i * n) + j];
                        if (i == 3 || (i == 1 && j == 2)) Assert.True(float.IsNaN(value), $"C[{i},{j}] is {value}");
                        else if (j == 2) Assert.True(value is 0 or float.PositiveInfinity, $"C[{i},{j}] is {value}");
                        else Assert.True(float.IsFinite(value), $"C[{i},{j}] is {value}");
                    }
                }
            });
        }
    }

    [Theory]
    [InlineData(0, 5, 5, 1)]
    [InlineData(5, 0, 5, 1)]
    [InlineData(5, 5, 0, 1)]
    [InlineData(5, 5, 5, 0)]
    [InlineData(0, 0, 0, 0)]
    public void Empty_products_leave_nothing_undone(int m, int n, int k, int batch)
    {
        foreach (var accumulate in new[] { false, true })
        {
            Verify<float>(
                new GemmProblem(m, n, k) { Batch = batch, Accumulate = accumulate },
                new GemmOptions { Bias = GemmBias.PerColumn, Workers = 2 });
        }
    }

    [Theory]
    [InlineData(24, 40, 32)]
    [InlineData(200, 200, 200)]
    [InlineData(64, 600, 1100)]
    [InlineData(4, 600, 300)]
    public unsafe void Execute_allocates_nothing(int m, int n, int k)
    {
        using var pool = new CpuPool(2);
        var problem = new GemmProblem(m, n, k) { TransB = true };
        using var test = new GemmCase<float>(problem, new GemmOptions { Workers = 2 });
        for (var i = 0; i < 3; i++) test.Plan.Execute(test.A, test.B, test.C, null, test.Workspace, pool);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 20; i++) test.Plan.Execute(test.A, test.B, test.C, null, test.Workspace, pool);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Misuse_is_refused_when_the_plan_is_made()
    {
        Refused<ArgumentException>(new GemmProblem(-1, 2, 3));
        Refused<ArgumentException>(new GemmProblem(4, 5, 6) { Lda = 5 });
        Refused<ArgumentException>(new GemmProblem(4, 5, 6) { TransA = true, Lda = 3 });
        Refused<ArgumentException>(new GemmProblem(4, 5, 6) { Ldb = 4 });
        Refused<ArgumentException>(new GemmProblem(4, 5, 6) { Ldc = -5 });
        Refused<ArgumentException>(new GemmProblem(4, 5, 6) { Batch = 2, StrideC = 19 });
        Assert.Throws<ArgumentOutOfRangeException>(
            () => GemmPlan.Create<float>(new GemmProblem(4, 5, 6), new GemmOptions { Workers = 0 }));
        Assert.Throws<NotSupportedException>(() => GemmPlan.Create<int>(new GemmProblem(4, 5, 6), new GemmOptions()));

        static void Refused<TException>(GemmProblem problem)
            where TException : Exception =>
            Assert.Throws<TException>(() => GemmPlan.Create<float>(problem, new GemmOptions()));
    }

    [Fact]
    public void Auto_takes_a_supported_kernel_and_small_products_stay_on_one_worker()
    {
        var plan = GemmPlan.Create<float>(new GemmProblem(8, 8, 8), new GemmOptions { Workers = 8 });
        Assert.NotEqual(GemmKernel.Auto, plan.Kernel);
        Assert.True(GemmPlan.IsSupported(plan.Kernel));
        Assert.Equal(1, plan.Workers);
    }

    private static void Products<T>(GemmKernel kernel)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        foreach (var (m, n, k) in Shapes)
        {
            Transposes((transA, transB) => Verify<T>(
                new GemmProblem(m, n, k) { TransA = transA, TransB = transB }, new GemmOptions { Kernel = kernel }));
        }
    }

    private static void Transposes(Action<bool, bool> test)
    {
        foreach (var transA in new[] { false, true })
        {
            foreach (var transB in new[] { false, true }) test(transA, transB);
        }
    }

    private static void Verify<T>(GemmProblem problem, GemmOptions options, CpuPool? pool = null)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        using var test = new GemmCase<T>(problem, options);
        test.Check(test.Run(pool));
    }
}
