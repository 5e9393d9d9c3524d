using System.Runtime.CompilerServices;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using Xunit;

namespace GpuEngine.Tests.Cpu;

/// <summary>Packers and epilogues from outside the engine, as a convolution or a user's op writes them.</summary>
public unsafe class GemmFusedTests
{
    public static TheoryData<GemmKernel> Kernels => GemmTests.Kernels;

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_sliding_window_is_multiplied_without_its_matrix(GemmKernel kernel)
    {
        // op(A)[i, k] = signal[i + k]: a one-dimensional im2col. The second shape has two blocks of rows and of k.
        foreach (var (m, n, k) in new[] { (37, 20, 11), (600, 40, 700) })
        {
            var problem = new GemmProblem(m, n, k) { Batch = 2, StrideB = k * n, StrideC = m * n };
            var signal = Random(2 * (m + k), 1);
            var weights = Random(2 * k * n, 2);
            var window = new float[2 * m * k];
            for (var b = 0; b < 2; b++)
            {
                for (var i = 0; i < m; i++)
                    signal.AsSpan((b * (m + k)) + i, k).CopyTo(window.AsSpan(((b * m) + i) * k));
            }
            var mask = Random(2 * m * n, 3);
            var result = new float[2 * m * n];
            var expected = new float[2 * m * n];
            using var pool = new CpuPool(2);
            var plan = GemmPlan.Create<float, SlidingWindow, StridedMatrix<float>, MaskedBy>(problem, 2, kernel);
            var plain = GemmPlan.Create<float>(problem with { StrideA = m * k }, new GemmOptions { Kernel = kernel });
            fixed (float* s = signal, w = weights, a = window, g = mask, c = result, e = expected)
            {
                fixed (byte* workspace = new byte[Math.Max(plan.WorkspaceBytes, plain.WorkspaceBytes) + 64])
                {
                    var aligned = (byte*)(((nint)workspace + 63) & ~63);
                    plan.Execute(
                        new SlidingWindow(s, m + k),
                        new StridedMatrix<float>(w, 1, n, k * n),
                        c,
                        new MaskedBy(g, m * n, n),
                        aligned,
                        pool);
                    plain.Execute(a, w, e, null, aligned, null);
                }
            }
            // Sums in the same order over the same blocks of k: equal to the bit, masked or not.
            for (var i = 0; i < result.Length; i++) Assert.Equal(mask[i] > 0 ? expected[i] : 0, result[i]);
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void An_activation_is_one_struct(GemmKernel kernel)
    {
        using var test = new GemmCase<double>(new GemmProblem(9, 21, 30), new GemmOptions { Kernel = kernel });
        var plan = GemmPlan.Create<double, Twice>(test.Problem, new GemmOptions { Kernel = kernel });
        var once = test.Run();
        plan.Execute(test.A, test.B, test.C, null, test.Workspace, null);
        for (var i = 0; i < once.Length; i++) Assert.Equal(2 * once[i], test.C[i]);
    }

    private static float[] Random(int count, int seed)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (var i = 0; i < count; i++) values[i] = random.NextSingle() - 0.5f;
        return values;
    }

    private readonly struct SlidingWindow(float* signal, nint batchStride) : IPanelPacker<float>
    {
        private readonly float* _signal = signal;
        private readonly nint _batchStride = batchStride;

        public void Pack<TSimd, TVec>(float* panel, int width, nint batch, nint k0, int depth, nint x0, int count)
            where TSimd : struct, ISimd<TVec, float>
            where TVec : struct
        {
            var source = _signal + (batch * _batchStride) + k0 + x0;
            for (var k = 0; k < depth; k++)
            {
                for (var x = 0; x < count; x++) panel[(k * width) + x] = source[k + x];
            }
        }
    }

    /// <summary>The gradient through a ReLU: C where the mask is positive, else 0.</summary>
    private readonly struct MaskedBy(float* mask, nint batchStride, nint stride) : IGemmEpilogue<float>
    {
        private readonly float* _mask = mask;
        private readonly nint _batchStride = batchStride;
        private readonly nint _stride = stride;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public TVec Apply<TSimd, TVec>(TVec value, nint batch, nint row, nint column, bool partial, TVec mask)
            where TSimd : struct, ISimd<TVec, float>
            where TVec : struct
        {
            var at = _mask + (batch * _batchStride) + (row * _stride) + column;
            var lanes = stackalloc float[TSimd.Width];
            TSimd.Store(lanes, value);
            var positive = stackalloc float[TSimd.Width];
            TSimd.Store(positive, partial ? TSimd.LoadMasked(at, mask) : TSimd.Load(at));
            for (var i = 0; i < TSimd.Width; i++) lanes[i] = positive[i] > 0 ? lanes[i] : 0;
            return TSimd.Load(lanes);
        }
    }

    private readonly struct Twice : IActivation
    {
        public static TVec Apply<T, TVec, TSimd>(TVec value)
            where T : unmanaged
            where TVec : struct
            where TSimd : struct, ISimd<TVec, T> => TSimd.Add(value, value);
    }
}
