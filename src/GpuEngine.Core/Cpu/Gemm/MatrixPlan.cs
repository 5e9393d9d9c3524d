using System.Numerics;
using GpuEngine.Core.Cpu.Threading;

namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// The plan of a product of matrices in memory: it builds the packers and the epilogue from the pointers of a call.
/// </summary>
internal sealed unsafe class MatrixPlan<T, TAxis, TActivation> : GemmPlan<T>
    where T : unmanaged, INumber<T>
    where TAxis : unmanaged, IBiasAxis
    where TActivation : unmanaged, IActivation
{
    private readonly FusedGemmPlan<T, StridedMatrix<T>, StridedMatrix<T>, BiasEpilogue<T, TAxis, TActivation>> _plan;
    private readonly nint _biasStride;
    private readonly bool _swapped;

    /// <param name="problem">As the caller put it.</param>
    /// <param name="canonical">As <see cref="VectorForms"/> puts it; its bias runs along
    /// <typeparamref name="TAxis"/>.</param>
    /// <param name="swapped">Whether A and B change places in it.</param>
    /// <param name="options">How to compute it.</param>
    public MatrixPlan(GemmProblem problem, GemmProblem canonical, bool swapped, GemmOptions options)
        : base(problem)
    {
        _swapped = swapped;
        _plan = GemmPlan.Create<T, StridedMatrix<T>, StridedMatrix<T>, BiasEpilogue<T, TAxis, TActivation>>(
            canonical, options.Workers, options.Kernel);
        _biasStride = options.BiasStride;
    }

    public override GemmKernel Kernel => _plan.Kernel;

    public override int Workers => _plan.Workers;

    public override long WorkspaceBytes => _plan.WorkspaceBytes;

    public override void Execute(T* a, T* b, T* c, T* bias, void* workspace, CpuPool? pool)
    {
        var p = _plan.Problem;
        if (_swapped)
        {
            var first = b;
            b = a;
            a = first;
        }
        var left = p.TransA
            ? new StridedMatrix<T>(a, 1, p.Lda, p.StrideA)
            : new StridedMatrix<T>(a, p.Lda, 1, p.StrideA);
        var right = p.TransB
            ? new StridedMatrix<T>(b, p.Ldb, 1, p.StrideB)
            : new StridedMatrix<T>(b, 1, p.Ldb, p.StrideB);
        var epilogue = new BiasEpilogue<T, TAxis, TActivation>(bias, _biasStride);
        _plan.Execute(left, right, c, epilogue, workspace, pool);
    }
}
