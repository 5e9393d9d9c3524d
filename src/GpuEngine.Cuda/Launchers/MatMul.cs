using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>Matrix products by a generated kernel: what runs where cuBLAS is not installed.</summary>
internal static class MatMul
{
    public static CudaKernel? Create(Node node, CudaLimits limits)
    {
        var op = (MatMulOp)node.Op;
        var (a, output) = (node.Inputs[0].Shape, node.Outputs[0].Shape);
        var product = new Product(
            node.Outputs[0].DType, output.Product(0, output.Rank - 2), output[^2], output[^1], op.TransposeA ? a[^2] : a[^1],
            op.TransposeA, op.TransposeB, Bias: false);
        return Create(node, limits, product);
    }

    public static CudaKernel? Linear(Node node, CudaLimits limits)
    {
        var op = (LinearOp)node.Op;
        var (x, w) = (node.Inputs[0].Shape, node.Inputs[1].Shape);
        var product = new Product(
            node.Outputs[0].DType, 1, x.Product(0, x.Rank - 1), w[0], w[1], TransposeA: false, TransposeB: true, op.Bias,
            op.Activation is not null, op.Residual);
        // Neither cuBLAS nor the generated kernel has more than these; the decomposition has.
        if (op.Activation is not null and not Relu) return null;
        return product.HasMore && (!limits.HasCublas || product.DType == DType.F64) ? null : Create(node, limits, product);
    }

    private static CudaKernel? Create(Node node, CudaLimits limits, Product p)
    {
        if (limits.HasCublas && CublasProduct.Fits(p)) return new CublasProduct(node, limits, p);
        var request = new KernelRequest("matmul", "matmul")
        {
            GeneratedText = ProductSource.MatMul,
            Defines =
            [
                KernelRequest.Define("STORAGE", p.DType), ("COMPUTE", KernelRequest.ComputeType(p.DType)),
                ("TRANSPOSE_A", p.TransposeA ? "1" : "0"), ("TRANSPOSE_B", p.TransposeB ? "1" : "0"), ("BIAS", p.Bias ? "1" : "0"),
            ],
        };
        var (rows, columns) = (Math.Max(1, (p.M + 15) / 16), Math.Max(1, (p.N + 15) / 16));
        var shape = new LaunchShape(new Dim3((uint)rows, (uint)columns, (uint)Math.Clamp(p.Batch, 1, 65535)), new Dim3(16, 16));
        // The rows lie along the grid's long axis: there may be millions of them.
        return p.N > 65535L * 16 ? null : new GeneratedKernel(node, request, shape, p.M, p.N, p.K, p.Batch);
    }
}

/// <summary>C[batch, m, n] = op(A) op(B) (+ bias[n]) (+ residual[m, n]), then relu or not, row-major.</summary>
internal sealed record Product(
    DType DType, long Batch, long M, long N, long K, bool TransposeA, bool TransposeB, bool Bias, bool Relu = false, bool Residual = false)
{
    /// <summary>Whether more than a bias comes behind the product.</summary>
    public bool HasMore => Relu || Residual;
}
