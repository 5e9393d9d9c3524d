using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// A prepared product C = epilogue(op(A) op(B)) whose operands come from packers and whose results pass through an
/// epilogue. It is made once for a shape; executing it allocates nothing. One plan runs one product at a time.
/// </summary>
public abstract unsafe class FusedGemmPlan<T, TPackA, TPackB, TEpilogue>
    where T : unmanaged
    where TPackA : unmanaged, IPanelPacker<T>
    where TPackB : unmanaged, IPanelPacker<T>
    where TEpilogue : unmanaged, IGemmEpilogue<T>
{
    private protected FusedGemmPlan(GemmProblem problem, GemmKernel kernel)
    {
        Problem = problem;
        Kernel = kernel;
    }

    public GemmProblem Problem { get; }

    /// <summary>The instruction set that was chosen, never <see cref="GemmKernel.Auto"/>.</summary>
    public GemmKernel Kernel { get; }

    /// <summary>The most workers that the plan puts to use.</summary>
    public abstract int Workers { get; }

    /// <summary>Bytes of scratch memory that <see cref="Execute"/> needs; may be 0.</summary>
    public abstract long WorkspaceBytes { get; }

    /// <summary>Computes C. The result does not depend on the number of threads.</summary>
    /// <param name="a">op(A), [m, k].</param>
    /// <param name="b">op(B), [k, n].</param>
    /// <param name="c">C, [m, n], row stride <see cref="GemmProblem.Ldc"/>.</param>
    /// <param name="epilogue">Applied to each element once, when its sum is complete.</param>
    /// <param name="workspace"><see cref="WorkspaceBytes"/> bytes, 64-byte aligned; its contents do not matter.</param>
    /// <param name="pool">The workers; null computes on the calling thread alone.</param>
    public abstract void Execute(
        in TPackA a, in TPackB b, T* c, in TEpilogue epilogue, void* workspace, CpuPool? pool);
}
