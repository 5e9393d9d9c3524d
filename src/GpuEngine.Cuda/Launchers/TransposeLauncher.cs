using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Codegen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// transpose.cu for the permutations that swap two groups of neighbouring axes; every other one, and thin matrices, of which
/// tiles would be mostly empty, run through the generated strided copy.
/// </summary>
internal static class TransposeLauncher
{
    private const int Tile = 32;
    private const int Threads = 256;

    /// <summary>Fewest rows and columns for which tiles pay.</summary>
    private const int Fewest = 16;

    public static CudaKernel? Create(Node node, CudaLimits limits) =>
        Swap(node) is var (batch, rows, columns) && rows >= Fewest && columns >= Fewest
            ? Tiled(node, limits, batch, rows, columns)
            : Elementwise.Permute(node, limits);

    private static PlannedKernel Tiled(Node node, CudaLimits limits, long batch, long rows, long columns)
    {
        var tiles = batch * ((rows + Tile - 1) / Tile) * ((columns + Tile - 1) / Tile);
        var request = new KernelRequest("transpose.cu", "transpose") { Defines = [KernelRequest.Define("DTYPE", node.Inputs[0].DType)] };
        var shape = new LaunchShape(new Dim3((uint)limits.Blocks(tiles * Threads, Threads)), new Dim3(Tile, Threads / Tile));
        return new PlannedKernel(node, new LaunchStep(request, shape, [Operand.Out(0), Operand.In(0)], [batch, rows, columns]));
    }

    /// <summary>The input as [batch, rows, columns] whose inner axes are swapped; null for another permutation.</summary>
    private static (long Batch, long Rows, long Columns)? Swap(Node node)
    {
        var strides = node.Inputs[0].Shape.Strides();
        var (extents, merged) = AxisMerge.Apply(node.Outputs[0].Shape, [[.. ((PermuteOp)node.Op).Order.Select(a => (long)strides[a])]]);
        var s = merged[0];
        return extents.Length switch
        {
            2 when s[0] == 1 && s[1] == extents[0] => (1, extents[1], extents[0]),
            3 when s[1] == 1 && s[2] == extents[1] && s[0] == extents[1] * extents[2] => (extents[0], extents[2], extents[1]),
            _ => null,
        };
    }
}
