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

    public static KernelVariant[] Forward() => [.. Nodes().Select(n => Variant(n.Name, RowNormLauncher.Forward(n.Node, Limits)))];

    public static KernelVariant[] Backward() => [.. Nodes().Select(n => Variant(n.Name, RowNormLauncher.Backward(Gradient(n.Node), Limits)))];

    public static KernelVariant[] Naive() =>
        [.. Nodes().Take(3).Select(n => Variant(n.Name, RowNormLauncher.Forward(n.Node, Limits with { Variant = "naive" })))];

    public static KernelVariant[] Running() => [new("f32", [KernelRequest.Define("MOMENTUM", 0.1f)])];

    /// <summary>Norms with the channels last, by variant. One compilation has all kernels of its file.</summary>
    public static KernelVariant[] Slices(string variant, bool backward)
    {
        var limits = Limits with { Variant = variant };
        return
        [
            .. SliceNodes().Select(n => Variant(
                n.Name, backward ? RowNormLauncher.Backward(Gradient(n.Node), limits) : RowNormLauncher.Forward(n.Node, limits))),
        ];
    }

    /// <summary>By code path: part of a warp, a warp, a block, a cluster, odd widths; units of each size.</summary>
    private static IEnumerable<(string Name, Node Node)> Nodes()
    {
        const DType Wide = DType.F32, Narrow = DType.BF16;
        yield return Layer(Wide, 100, 35);
        yield return Layer(Wide, 4096, 8192);
        yield return Group(Narrow, [32, 256, 56, 56], 32, new Gelu());
        yield return Layer(Narrow, 131072, 128);
        yield return Layer(Wide, 8192, 1024);
        yield return Layer(Narrow, 16384, 4096);
        yield return Layer(Narrow, 1024, 12288);
        yield return Layer(Wide, 64, 131072);
        yield return ("bf16 rms silu", F.RmsNorm(F.Input("x", Narrow, [512, 2048]), [2048], F.Input("w", Narrow, [2048]), activation: new Silu()).Node);
        yield return ("f32 bare", F.LayerNorm(F.Input("x", Wide, [512, 2048]), [2048]).Node);
        yield return Group(Wide, [32, 256, 4, 4], 32, null);
        yield return ("bf16 instance", F.InstanceNorm(F.Input("x", Narrow, [8, 16, 112, 112])).Output.Node);

        static (string, Node) Layer(DType dtype, int rows, int width) => ($"{dtype.Label()} layer {rows}x{width}", F.LayerNorm(
            F.Input("x", dtype, [rows, width]), [width], F.Input("w", DType.F32, [width]), F.Input("b", DType.F32, [width])).Node);
        static (string, Node) Group(DType dtype, int[] shape, int groups, Activation? activation) => ($"{dtype.Label()} group {shape[^1]}", F.GroupNorm(
            F.Input("x", dtype, new Shape(shape)), groups, F.Input("w", DType.F32, [shape[1]]), F.Input("b", DType.F32, [shape[1]]), activation: activation).Node);
    }

    /// <summary>Groups of vectors, across vectors and within them; odd channels.</summary>
    private static IEnumerable<(string Name, Node Node)> SliceNodes()
    {
        yield return Group(DType.BF16, [32, 56, 56, 256], new Silu());
        yield return Group(DType.BF16, [16, 64, 64, 320], new Silu());
        yield return Group(DType.F32, [32, 56, 56, 256], null);
        yield return ("f32 odd bare", F.GroupNorm(F.Input("x", DType.F32, [4, 9, 9, 15]), 5, channelsLast: true).Node);
        yield return ("bf16 instance", F.InstanceNorm(F.Input("x", DType.BF16, [8, 32, 32, 64]), channelsLast: true).Output.Node);

        static (string, Node) Group(DType dtype, int[] shape, Activation? activation) => ($"{dtype.Label()} {shape[^1]} in 32", F.GroupNorm(
            F.Input("x", dtype, new Shape(shape)), 32, F.Input("w", DType.F32, [shape[^1]]), F.Input("b", DType.F32, [shape[^1]]), activation: activation,
            channelsLast: true).Node);
    }

    private static Node Gradient(Node node)
    {
        var dx = Autodiff.VectorJacobian([node.Outputs[0]], [F.Input("dy", node.Inputs[0].DType, node.Inputs[0].Shape)], [node.Inputs[0]])[0]!;
        return Traversal.Ancestors([dx]).Single(n => n.Op is RowNormBackwardOp);
    }

    private static KernelVariant Variant(string name, CudaKernel? kernel) => new(name, kernel!.Requests[0].Defines);
}
