namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// C[m,n] = op(A)[m,k] op(B)[k,n], or C += with <see cref="Accumulate"/>; row-major; a batch of products at fixed
/// strides. op(X) is X, or its transpose: A is stored as [m,k] or, with <see cref="TransA"/>, as [k,m]; B as [k,n] or
/// [n,k]. Strides count elements. C must not overlap A or B.
/// </summary>
public readonly record struct GemmProblem(int M, int N, int K)
{
    public bool TransA { get; init; }

    public bool TransB { get; init; }

    /// <summary>Elements between two stored rows of A; 0 means contiguous.</summary>
    public nint Lda { get; init; }

    /// <summary>Elements between two stored rows of B; 0 means contiguous.</summary>
    public nint Ldb { get; init; }

    /// <summary>Elements between two rows of C; 0 means contiguous.</summary>
    public nint Ldc { get; init; }

    /// <summary>The number of products.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>Elements between the A of two products; 0 when they share one A.</summary>
    public nint StrideA { get; init; }

    /// <summary>Elements between the B of two products; 0 when they share one B.</summary>
    public nint StrideB { get; init; }

    /// <summary>Elements between the C of two products.</summary>
    public nint StrideC { get; init; }

    /// <summary>Adds the product to C instead of replacing it.</summary>
    public bool Accumulate { get; init; }

    /// <summary>Multiply-adds of the whole batch.</summary>
    internal double MultiplyAdds => (double)M * N * K * Batch;

    /// <summary>The same problem with contiguous strides written out.</summary>
    /// <exception cref="ArgumentException">A size is negative or a stride is too short.</exception>
    internal GemmProblem Checked()
    {
        if (M < 0 || N < 0 || K < 0 || Batch < 0)
            throw new ArgumentException($"A GEMM needs sizes of at least 0, not m={M}, n={N}, k={K}, batch={Batch}.");
        var full = this with
        {
            Lda = Lda != 0 ? Lda : Math.Max(1, TransA ? M : K),
            Ldb = Ldb != 0 ? Ldb : Math.Max(1, TransB ? K : N),
            Ldc = Ldc != 0 ? Ldc : Math.Max(1, N),
        };
        Check("A", full.Lda, TransA ? M : K);
        Check("B", full.Ldb, TransB ? K : N);
        Check("C", full.Ldc, N);
        if (Batch > 1 && M > 0 && StrideC < ((M - 1) * full.Ldc) + N)
            throw new ArgumentException($"Batches of C overlap: {StrideC} elements apart, {M} rows of {full.Ldc}.");
        return full;
    }

    private static void Check(string name, nint stride, int width)
    {
        if (stride < width)
            throw new ArgumentException($"The row stride of {name} is {stride} elements, less than its width {width}.");
    }
}
