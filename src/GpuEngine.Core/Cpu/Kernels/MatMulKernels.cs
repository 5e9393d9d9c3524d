using System.Numerics;
using GpuEngine.Core.Cpu.Gemm;
using GpuEngine.Core.Cpu.Threading;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>Matrix products on the packed GEMM: matmul, and linear with its bias added where the product is stored.</summary>
internal static class MatMulKernels
{
    public static CpuKernel? MatMul(Node node, int workers)
    {
        var op = (MatMulOp)node.Op;
        var (a, c) = (node.Inputs[0].Shape, node.Outputs[0].Shape);
        var problem = new GemmProblem(c[^2], c[^1], op.TransposeA ? a[^2] : a[^1])
        {
            TransA = op.TransposeA,
            TransB = op.TransposeB,
            Batch = (int)c.Product(0, c.Rank - 2),
            StrideA = (nint)a.Product(a.Rank - 2, a.Rank),
            StrideB = (nint)node.Inputs[1].Shape.Product(a.Rank - 2, a.Rank),
            StrideC = (nint)c.Product(c.Rank - 2, c.Rank),
        };
        return Create(node, problem, new GemmOptions { Workers = workers });
    }

    public static CpuKernel? Linear(Node node, int workers)
    {
        var op = (LinearOp)node.Op;
        if (op.Residual || op.Activation is not null and not Graph.Relu) return null;
        var (x, w) = (node.Inputs[0].Shape, node.Inputs[1].Shape);
        var problem = new GemmProblem((int)x.Product(0, x.Rank - 1), w[0], w[1]) { TransB = true };
        return Create(node, problem, new GemmOptions
        {
            Workers = workers,
            Bias = op.Bias ? GemmBias.PerColumn : GemmBias.None,
            Activation = op.Activation is null ? GemmActivation.None : GemmActivation.Relu,
        });
    }

    private static CpuKernel? Create(Node node, GemmProblem problem, GemmOptions options) => CpuKernels.Typed(
        node.Inputs[0].DType, () => new MatMulKernel<float>(problem, options), () => new MatMulKernel<double>(problem, options));

    private sealed unsafe class MatMulKernel<T>(GemmProblem problem, GemmOptions options) : CpuKernel
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        private readonly GemmPlan<T> _plan = GemmPlan.Create<T>(problem, options);

        public override long WorkspaceBytes => _plan.WorkspaceBytes;

        public override void Run(CpuPool pool) =>
            _plan.Execute(In<T>(0), In<T>(1), Out<T>(0), InputCount > 2 ? In<T>(2) : null, (void*)Workspace, pool);

        public override void Execute(int worker, int workers) => throw new InvalidOperationException("The plan forks by itself.");
    }
}
