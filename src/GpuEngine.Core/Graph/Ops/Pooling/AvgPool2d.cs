namespace GpuEngine.Core.Graph;

/// <summary>
/// torch's avg_pool2d: the mean over windows; zeros of the padding count unless <paramref name="CountIncludePad"/> is false (what
/// hangs over behind the padding with ceil_mode never counts); <paramref name="DivisorOverride"/>, if not 0, replaces the count.
/// </summary>
public sealed record AvgPool2dOp(
    Ints Kernel, Ints Stride, Ints Padding, bool CeilMode, bool CountIncludePad, int DivisorOverride) : AveragingOp
{
    internal static readonly OpSpec Spec = new("avg_pool2d", "mean over windows")
    {
        Attributes =
        [
            new("kernel_size", null, "the window; a number or [height, width]"),
            new("stride", null, "step of the window; the window's size when not given"),
            new("padding", 0, "zeros on both sides, at most half the window"),
            new("ceil_mode", false, "also take windows that hang over the end"),
            new("count_include_pad", true, "zeros of the padding count as elements"),
            new("divisor_override", null, "divide by this instead of the number of elements"),
        ],
        Build = call => call.Output(F.AvgPool2d(
            call["input"], SpatialPair.Of(call.Pair("kernel_size")),
            call.Has("stride") ? SpatialPair.Of(call.Pair("stride")) : null, SpatialPair.Of(call.Pair("padding")),
            call.Flag("ceil_mode"), call.Flag("count_include_pad"),
            call.Has("divisor_override") ? call.Integer("divisor_override") : null)),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 3, 6, 40), Attributes = { ["kernel_size"] = 2 } },
            new()
            {
                ["input"] = Sample.Normal(2, 2, 7, 9),
                Attributes = { ["kernel_size"] = 3, ["stride"] = 2, ["padding"] = 1, ["ceil_mode"] = true },
            },
            new()
            {
                ["input"] = Sample.Normal(2, 7, 9),
                Attributes =
                {
                    ["kernel_size"] = new[] { 3, 2 }, ["stride"] = new[] { 1, 3 }, ["padding"] = new[] { 1, 0 },
                    ["count_include_pad"] = false,
                },
            },
            new()
            {
                ["input"] = Sample.Normal(1, 2, 8, 8),
                Attributes = { ["kernel_size"] = 3, ["ceil_mode"] = true, ["divisor_override"] = 5 },
            },
            new() { ["input"] = Sample.Normal(1, 3, 5, 7), Attributes = { ["kernel_size"] = new[] { 5, 7 } } },
        ],
    };

    public override string Name => "avg_pool2d";

    public override PoolWindow[] Windows(int axis, int input)
    {
        var (kernel, stride, padding) = (Kernel[axis], Stride[axis], Padding[axis]);
        var windows = new PoolWindow[MaxPoolOp.PoolExtent(input, kernel, stride, padding, 1, CeilMode)];
        for (var i = 0; i < windows.Length; i++)
        {
            var start = i * stride - padding;
            var end = Math.Min(start + kernel, input + padding);
            windows[i] = new(Math.Max(start, 0), Math.Min(end, input), end - start);
        }

        return windows;
    }

    internal override double Divisor(PoolWindow high, PoolWindow wide) => DivisorOverride != 0 ? DivisorOverride
        : CountIncludePad ? (double)high.PaddedExtent * wide.PaddedExtent
        : (double)high.Extent * wide.Extent;

    protected override void Check(Shape input)
    {
        for (var i = 0; i < 2; i++)
        {
            if (Kernel[i] < 1 || Stride[i] < 1 || Padding[i] < 0 || Padding[i] * 2 > Kernel[i])
                throw new ShapeException($"avg_pool2d: kernel {Kernel} and stride {Stride} must be positive and padding {Padding} at most half the kernel.");
            if (Windows(i, input[2 + i]).Length < 1)
                throw new ShapeException($"avg_pool2d: the window {Kernel} does not fit into {input} (padding {Padding}).");
        }
    }
}

public static partial class F
{
    /// <summary>Means over windows of input [N, C, H, W] or [C, H, W]; see <see cref="AvgPool2dOp"/>.</summary>
    /// <exception cref="ShapeException">The window does not fit, or an attribute is out of range.</exception>
    public static Tensor AvgPool2d(
        Tensor input, SpatialPair kernelSize, SpatialPair? stride = null, SpatialPair? padding = null,
        bool ceilMode = false, bool countIncludePad = true, int? divisorOverride = null)
    {
        if (divisorOverride == 0) throw new ShapeException("avg_pool2d: divisor_override must not be 0.");
        var op = new AvgPool2dOp(kernelSize, stride ?? kernelSize, padding ?? 0, ceilMode, countIncludePad, divisorOverride ?? 0);
        return OnImages(input, op);
    }

    /// <summary>Applies an op of [N, C, H, W] to a batch of images or to one image [C, H, W].</summary>
    private static Tensor OnImages(Tensor input, Op op)
    {
        if (input.Rank != 3) return op.Apply(input).Outputs[0];
        var y = op.Apply(Reshape(input, [1, .. input.Shape])).Outputs[0];
        return Reshape(y, new Shape(y.Shape.AsSpan()[1..]));
    }
}
