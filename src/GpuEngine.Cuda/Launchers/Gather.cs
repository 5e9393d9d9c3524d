using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>Gather and scatter along the last axis and by rows. Additions happen in ascending order of position.</summary>
internal static class Gather
{
    public static CudaKernel Last(Node node, CudaLimits limits)
    {
        var (x, index) = (node.Inputs[0], node.Inputs[1]);
        var request = Moves.Request("gather", PrimitiveSource.Gather, x.DType, index.DType);
        return GeneratedKernel.Over(index.Type.Elements, node, limits, request, Math.Max(1, index.Shape[^1]), x.Shape[^1]);
    }

    public static CudaKernel Rows(Node node, CudaLimits limits)
    {
        var (table, index) = (node.Inputs[0], node.Inputs[1]);
        var request = Moves.Request("gather_rows", PrimitiveSource.GatherRows, table.DType, index.DType);
        return GeneratedKernel.Over(node.Outputs[0].Type.Elements, node, limits, request, table.Shape[1], table.Shape[0]);
    }

    public static CudaKernel ScatterAdd(Node node, CudaLimits limits)
    {
        var (index, output) = (node.Inputs[1], node.Outputs[0]);
        var rows = index.Shape.Product(0, index.Rank - 1);
        var threads = Threads(Math.Max(index.Shape[^1], output.Shape[^1]));
        var request = Sums("scatter_add", PrimitiveSource.ScatterAdd, output.DType, index.DType, threads);
        return new GeneratedKernel(node, request, Blocks(rows, threads), rows, index.Shape[^1], output.Shape[^1]);
    }

    public static CudaKernel ScatterRows(Node node, CudaLimits limits)
    {
        var (index, output) = (node.Inputs[1], node.Outputs[0]);
        var threads = Threads(Math.Max(output.Shape[1], (int)Math.Min(index.Type.Elements, 256)));
        var request = Sums("scatter_rows", PrimitiveSource.ScatterRows, output.DType, index.DType, threads);
        return new GeneratedKernel(node, request, Blocks(output.Shape[0], threads), output.Shape[0], output.Shape[1], index.Type.Elements);
    }

    private static KernelRequest Sums(string entry, string text, DType dtype, DType index, int threads) => new(entry, entry)
    {
        GeneratedText = text,
        Defines =
        [
            KernelRequest.Define("STORAGE", dtype), ("COMPUTE", KernelRequest.ComputeType(dtype)), KernelRequest.Define("INDEX", index),
            KernelRequest.Define("THREADS", threads),
            // Sums of bf16 are kept in f32 registers; the other types can be added up where they lie.
            ("OWNED", dtype == DType.BF16 ? "0" : "1"),
        ],
        Fma = false,
    };

    private static int Threads(int width) => width <= 32 ? 32 : width <= 64 ? 64 : width <= 128 ? 128 : 256;

    private static LaunchShape Blocks(long rows, int threads) =>
        new(new Dim3((uint)Math.Clamp(rows, 1, 1 << 20)), new Dim3((uint)threads));
}
