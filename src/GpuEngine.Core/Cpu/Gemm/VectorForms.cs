namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// A matrix with one row or column can be described in more than one way. These are the descriptions that suit the
/// kernels, which run along the columns of C and along k.
/// </summary>
internal static class VectorForms
{
    /// <summary>
    /// The same product, possibly as its transpose C^T = op(B)^T op(A)^T, in which A and B change places.
    /// </summary>
    public static (GemmProblem Problem, bool Swapped) Canonical(GemmProblem problem)
    {
        // A column C = A^T x with a row-major A: as the row x^T A it has whole registers.
        var swap = problem is { N: 1, Ldc: 1, TransA: true, M: > 1 };
        if (swap)
        {
            problem = problem with
            {
                M = 1,
                N = problem.M,
                TransA = !problem.TransB,
                TransB = false,
                Lda = problem.Ldb,
                Ldb = problem.Lda,
                Ldc = problem.M,
                StrideA = problem.StrideB,
                StrideB = problem.StrideA,
            };
        }
        // A contiguous vector along k is stored [k, 1] as well as [1, k].
        var contiguous = Math.Max(1, problem.K);
        if (problem is { M: 1, TransA: true, Lda: 1 }) problem = problem with { TransA = false, Lda = contiguous };
        if (problem is { N: 1, TransB: false, Ldb: 1 }) problem = problem with { TransB = true, Ldb = contiguous };
        return (problem, swap);
    }
}
