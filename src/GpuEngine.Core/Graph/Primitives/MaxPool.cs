namespace GpuEngine.Core.Graph;

/// <summary>
/// Maximum over windows of the two last axes of [N, C, H, W]; padding counts as minus infinity. Outputs: the values, and the
/// index (i32, row-major within the H x W plane, as torch's return_indices) of the first maximum; NaN wins, as in torch.
/// The gradient is a scatter by that index.
/// </summary>
public sealed record MaxPoolOp(Ints Kernel, Ints Stride, Ints Padding, Ints Dilation, bool CeilMode) : Primitive
{
    public override string Name => "max_pool2d";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (x.Shape.Rank != 4 || !x.DType.IsFloat()) throw Mismatch(Name, "a float tensor [N, C, H, W]", inputs);
        for (var i = 0; i < 2; i++)
        {
            if (Kernel[i] < 1 || Stride[i] < 1 || Dilation[i] < 1 || Padding[i] < 0 || Padding[i] * 2 > Kernel[i])
                throw new ShapeException($"max_pool2d: kernel {Kernel}, stride {Stride} and dilation {Dilation} must be positive and padding {Padding} at most half the kernel.");
        }

        Shape y =
        [
            x.Shape[0], x.Shape[1],
            PoolExtent(x.Shape[2], Kernel[0], Stride[0], Padding[0], Dilation[0], CeilMode),
            PoolExtent(x.Shape[3], Kernel[1], Stride[1], Padding[1], Dilation[1], CeilMode),
        ];
        if (y[2] < 1 || y[3] < 1) throw new ShapeException($"max_pool2d: the window {Kernel} does not fit into {x.Shape} (padding {Padding}).");
        return [x with { Shape = y }, new TensorType(DType.I32, y)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => outputGradients[0] is { } g
        ? [new MaxPoolBackwardOp(this, node.Inputs[0].Shape).Apply(g, node.Outputs[1]).Outputs[0]]
        : [null];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Outputs[0].Type.Elements * Kernel[0] * Kernel[1]);

    /// <summary>torch's rule: with ceil_mode the last window may hang over, but must start inside the input or its left padding.</summary>
    internal static int PoolExtent(int input, int kernel, int stride, int padding, int dilation, bool ceilMode)
    {
        var span = input + 2 * padding - dilation * (kernel - 1) - 1 + (ceilMode ? stride - 1 : 0);
        // The division rounds down (a window that does not fit must not become one that does).
        if (span < 0) return 0;
        var extent = span / stride + 1;
        if (ceilMode && (extent - 1) * stride >= input + padding) extent--;
        return extent;
    }
}
