using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>
/// The constants that the kernels of row norms are compiled for in the gate: those that their planner chooses for typical shapes, so
/// that what is compiled is what runs.
/// </summary>
internal static class RowKernels
{
    private static readonly CudaLimits Limits = new();

    /// <summary>Widths by code path: part of a warp, a warp, a block, a cluster, odd.</summary>
    private static readonly (int Rows, int Width)[] Layers = [(131072, 128), (8192, 1024), (16384, 4096), (4096, 8192), (1024, 12288), (64, 131072), (100, 35)];

    public static KernelVariant[] Forward() => [.. Nodes().Select(n => Variant(n.Name, RowNormLauncher.Forward(n.Node, Limits)))];

    public static KernelVariant[] Backward() => [.. Nodes().Select(n => Variant(n.Name, RowNormLauncher.Backward(Gradient(n.Node), Limits)))];

    public static KernelVariant[] Naive() =>
    [
        .. Nodes().Where(n => n.Node.Inputs[0].Shape[0] is 4096 or 32 or 100).Select(n => Variant(n.Name, RowNormLauncher.Forward(n.Node, Limits with { Variant = "naive" }))),
    ];

    /// <summary>Norms with the channels last, by variant.</summary>
    public static KernelVariant[] Slices(string variant, bool backward)
    {
        // One launch compiles all kernels of its file.
        var limits = Limits with { Variant = variant };
        return
        [
            .. SliceNodes().Select(n => Variant(
                n.Name, backward ? RowNormLauncher.Backward(Gradient(n.Node), limits) : RowNormLauncher.Forward(n.Node, limits))),
        ];
    }

    private static IEnumerable<(string Name, Node Node)> SliceNodes()
    {
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var label = dtype.Label();
            Node Group(int[] shape, int groups, Activation? activation, bool affine = true) => F.GroupNorm(
                F.Input("x", dtype, new Shape(shape)), groups, affine ? F.Input("w", DType.F32, [shape[^1]]) : null,
                affine ? F.Input("b", DType.F32, [shape[^1]]) : null, activation: activation, channelsLast: true).Node;
            yield return ($"{label} 256 in 32 silu", Group([32, 56, 56, 256], 32, new Silu()));
            yield return ($"{label} 320 in 32 silu", Group([16, 64, 64, 320], 32, new Silu()));
            yield return ($"{label} odd bare", Group([4, 9, 9, 15], 5, null, affine: false));
            yield return ($"{label} instance", F.InstanceNorm(F.Input("x", dtype, [8, 32, 32, 64]), channelsLast: true).Output.Node);
        }
    }

    private static IEnumerable<(string Name, Node Node)> Nodes()
    {
        foreach (var dtype in new[] { DType.F32, DType.BF16 })
        {
            var label = dtype.Label();
            foreach (var (rows, width) in Layers)
            {
                yield return ($"{label} layer {rows}x{width}", F.LayerNorm(
                    F.Input("x", dtype, [rows, width]), [width], F.Input("w", DType.F32, [width]), F.Input("b", DType.F32, [width])).Node);
            }

            yield return ($"{label} rms silu", F.RmsNorm(F.Input("x", dtype, [512, 2048]), [2048], F.Input("w", dtype, [2048]), activation: new Silu()).Node);
            yield return ($"{label} bare", F.LayerNorm(F.Input("x", dtype, [512, 2048]), [2048]).Node);
            yield return ($"{label} group gelu", F.GroupNorm(
                F.Input("x", dtype, [32, 256, 56, 56]), 32, F.Input("w", DType.F32, [256]), F.Input("b", DType.F32, [256]), activation: new Gelu()).Node);
            yield return ($"{label} group small", F.GroupNorm(
                F.Input("x", dtype, [32, 256, 4, 4]), 32, F.Input("w", DType.F32, [256]), F.Input("b", DType.F32, [256])).Node);
            yield return ($"{label} instance", F.InstanceNorm(F.Input("x", dtype, [8, 16, 112, 112])).Output.Node);
        }
    }

    private static Node Gradient(Node node)
    {
        var dx = Autodiff.VectorJacobian([node.Outputs[0]], [F.Input("dy", node.Inputs[0].DType, node.Inputs[0].Shape)], [node.Inputs[0]])[0]!;
        return Traversal.Ancestors([dx]).Single(n => n.Op is RowNormBackwardOp);
    }

    private static KernelVariant Variant(string name, CudaKernel? kernel) => new(name, kernel!.Requests[0].Defines);
}
