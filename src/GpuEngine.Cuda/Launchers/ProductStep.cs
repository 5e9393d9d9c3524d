using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Interop;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>A matrix in memory, row-major: elements between two rows and between two of a batch, read transposed or not.</summary>
internal readonly record struct MatrixLayout(long Row, long Batch, bool Transposed = false);

/// <summary>
/// C[batch, m, n] = op(A) op(B), or added to C, by cuBLAS; strides as the layouts say, in elements. The first
/// <see cref="Reserved"/> bytes of the workspace are cuBLAS's.
/// </summary>
/// <param name="A">Where A begins.</param>
/// <param name="B">Where B begins.</param>
/// <param name="C">Where C begins.</param>
internal sealed unsafe record ProductStep(Operand A, Operand B, Operand C) : PlannedStep
{
    public required (long M, long N, long K, long Batch) Extents { get; init; }

    public required (MatrixLayout A, MatrixLayout B, MatrixLayout C) Layouts { get; init; }

    /// <summary>Of A and B; C may be wider.</summary>
    public required DType DType { get; init; }

    public required DType OutputType { get; init; }

    /// <summary>Whether the product is added to what is in C.</summary>
    public bool Adds { get; init; }

    public required cublasComputeType_t Compute { get; init; }

    /// <summary>Workspace bytes for cuBLAS.</summary>
    public required long Reserved { get; init; }

    /// <summary>Row-major C = op(A) op(B) is the column-major C' = op(B)' op(A)'.</summary>
    public void Launch(KernelLibrary library, CudaStream stream, DevicePointer workspace, DevicePointer a, DevicePointer b, DevicePointer c)
    {
        var handle = library.Cublas(stream);
        Cublas.cublasSetWorkspace_v2(handle, workspace.Raw, (nuint)Reserved).ThrowIfFailed();
        double one64 = 1, add64 = Adds ? 1 : 0;
        float one32 = 1, add32 = Adds ? 1 : 0;
        void* one = DType == DType.F64 ? &one64 : &one32;
        void* add = DType == DType.F64 ? &add64 : &add32;
        var (x, y, z) = Layouts;
        var (type, output) = (CublasProduct.TypeOf(DType), CublasProduct.TypeOf(OutputType));
        var (ta, tb) = (CublasProduct.Operation(x.Transposed), CublasProduct.Operation(y.Transposed));
        var (m, n, k) = ((int)Extents.M, (int)Extents.N, (int)Extents.K);
        // Only the plain call splits long sums over blocks.
        var status = Extents.Batch == 1
            ? Cublas.cublasGemmEx(
                handle, tb, ta, n, m, k, one, b.Raw, type, (int)y.Row, a.Raw, type, (int)x.Row, add, c.Raw, output, (int)z.Row,
                Compute, cublasGemmAlgo_t.CUBLAS_GEMM_DEFAULT)
            : Cublas.cublasGemmStridedBatchedEx(
                handle, tb, ta, n, m, k, one, b.Raw, type, (int)y.Row, y.Batch, a.Raw, type, (int)x.Row, x.Batch,
                add, c.Raw, output, (int)z.Row, z.Batch, (int)Extents.Batch, Compute, cublasGemmAlgo_t.CUBLAS_GEMM_DEFAULT);
        status.ThrowIfFailed();
    }

    public override string ToString() => $"product {Extents.M}x{Extents.N}x{Extents.K} x{Extents.Batch}{(Adds ? " added" : "")}";
}
