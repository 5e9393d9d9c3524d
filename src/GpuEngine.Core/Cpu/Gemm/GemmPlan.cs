using System.Numerics;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// A prepared product of matrices in memory: C = activation(op(A) op(B) [+ C] [+ bias]). It is made once for a shape;
/// executing it allocates nothing. One plan runs one product at a time.
/// </summary>
public abstract unsafe class GemmPlan<T>
    where T : unmanaged
{
    private protected GemmPlan(GemmProblem problem) => Problem = problem;

    public GemmProblem Problem { get; }

    /// <summary>The instruction set that was chosen, never <see cref="GemmKernel.Auto"/>.</summary>
    public abstract GemmKernel Kernel { get; }

    /// <summary>The most workers that the plan puts to use.</summary>
    public abstract int Workers { get; }

    /// <summary>Bytes of scratch memory that <see cref="Execute"/> needs; may be 0.</summary>
    public abstract long WorkspaceBytes { get; }

    /// <summary>Computes C. The result does not depend on the number of threads, bit for bit.</summary>
    /// <param name="a">A as stored, see <see cref="GemmProblem"/>.</param>
    /// <param name="b">B as stored.</param>
    /// <param name="c">C; may hold anything unless the problem accumulates.</param>
    /// <param name="bias">N or M elements as <see cref="GemmOptions.Bias"/> says; not read without one.</param>
    /// <param name="workspace"><see cref="WorkspaceBytes"/> bytes, 64-byte aligned; its contents do not matter.</param>
    /// <param name="pool">The workers; null computes on the calling thread alone.</param>
    public abstract void Execute(T* a, T* b, T* c, T* bias, void* workspace, CpuPool? pool);
}

/// <summary>Makes plans of matrix products.</summary>
public static class GemmPlan
{
    /// <summary>Whether this processor can run a kernel.</summary>
    public static bool IsSupported(GemmKernel kernel) => kernel switch
    {
        GemmKernel.Avx512 => Avx512F.IsSupported && Vector512.IsHardwareAccelerated,
        GemmKernel.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        _ => true,
    };

    /// <summary>A product of matrices in memory.</summary>
    /// <typeparam name="T">float or double.</typeparam>
    /// <exception cref="ArgumentException">A size or stride makes no sense.</exception>
    /// <exception cref="PlatformNotSupportedException">The processor lacks the kernel that was asked for.</exception>
    public static GemmPlan<T> Create<T>(GemmProblem problem, GemmOptions options)
        where T : unmanaged, INumber<T>
    {
        problem = problem.Checked();
        return options.Activation switch
        {
            GemmActivation.None => Create<T, Identity>(problem, options),
            GemmActivation.Relu => Create<T, Relu>(problem, options),
            _ => throw new ArgumentOutOfRangeException(nameof(options), options.Activation, "Unknown activation."),
        };
    }

    /// <summary>A product of matrices in memory that ends in an activation of one's own.</summary>
    /// <inheritdoc cref="Create{T}"/>
    public static GemmPlan<T> Create<T, TActivation>(GemmProblem problem, GemmOptions options)
        where T : unmanaged, INumber<T>
        where TActivation : unmanaged, IActivation
    {
        problem = problem.Checked();
        var (canonical, swapped) = VectorForms.Canonical(problem);
        return (options.Bias, swapped) switch
        {
            (GemmBias.None, _) => new MatrixPlan<T, NoBias, TActivation>(problem, canonical, swapped, options),
            (GemmBias.PerColumn, false) or (GemmBias.PerRow, true) =>
                new MatrixPlan<T, PerColumn, TActivation>(problem, canonical, swapped, options),
            (GemmBias.PerRow, false) or (GemmBias.PerColumn, true) =>
                new MatrixPlan<T, PerRow, TActivation>(problem, canonical, swapped, options),
            _ => throw new ArgumentOutOfRangeException(nameof(options), options.Bias, "Unknown bias axis."),
        };
    }

    /// <summary>
    /// A product whose operands come from packers of one's own and whose results pass through an epilogue of one's own.
    /// The problem's layout of an operand (transposition, row stride, batch stride) then concerns its packer only.
    /// </summary>
    /// <inheritdoc cref="Create{T}"/>
    public static FusedGemmPlan<T, TPackA, TPackB, TEpilogue> Create<T, TPackA, TPackB, TEpilogue>(
        GemmProblem problem, int workers, GemmKernel kernel = GemmKernel.Auto)
        where T : unmanaged, INumber<T>
        where TPackA : unmanaged, IPanelPacker<T>
        where TPackB : unmanaged, IPanelPacker<T>
        where TEpilogue : unmanaged, IGemmEpilogue<T>
    {
        if (typeof(T) != typeof(float) && typeof(T) != typeof(double))
            throw new NotSupportedException($"A GEMM works on float or double, not on {typeof(T).Name}.");
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        problem = problem.Checked();
        kernel = Resolve(kernel);
        return kernel switch
        {
            GemmKernel.Avx512 =>
                new GemmDriver<T, Vector512<T>, Avx512Simd<T>, TPackA, TPackB, TEpilogue>(problem, workers, kernel),
            GemmKernel.Avx2 =>
                new GemmDriver<T, Vector256<T>, Avx2Simd<T>, TPackA, TPackB, TEpilogue>(problem, workers, kernel),
            _ => new GemmDriver<T, Vector<T>, PortableSimd<T>, TPackA, TPackB, TEpilogue>(problem, workers, kernel),
        };
    }

    private static GemmKernel Resolve(GemmKernel kernel)
    {
        if (kernel == GemmKernel.Auto)
        {
            return IsSupported(GemmKernel.Avx512) ? GemmKernel.Avx512
                : IsSupported(GemmKernel.Avx2) ? GemmKernel.Avx2
                : GemmKernel.Portable;
        }
        if (!IsSupported(kernel)) throw new PlatformNotSupportedException($"This processor has no {kernel}.");
        return kernel;
    }
}
