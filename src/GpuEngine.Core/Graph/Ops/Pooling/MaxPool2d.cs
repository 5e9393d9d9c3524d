namespace GpuEngine.Core.Graph;

/// <summary>The catalog entry of max_pool2d, which is a primitive (<see cref="MaxPoolOp"/>).</summary>
internal static class MaxPool2d
{
    internal static readonly OpSpec Spec = new("max_pool2d", "maximum over windows")
    {
        Attributes =
        [
            new("kernel_size", null, "the window; a number or [height, width]"),
            new("stride", null, "step of the window; the window's size when not given"),
            new("padding", 0, "minus infinity on both sides, at most half the window"),
            new("dilation", 1, "distance between the elements of a window"),
            new("ceil_mode", false, "also take windows that hang over the end"),
            new("return_indices", false, "also return the place (i64, row-major in the plane) of each maximum"),
        ],
        Build = call =>
        {
            SpatialPair? stride = call.Has("stride") ? SpatialPair.Of(call.Pair("stride")) : null;
            var result = F.MaxPool2d(
                call["input"], SpatialPair.Of(call.Pair("kernel_size")), stride, SpatialPair.Of(call.Pair("padding")),
                SpatialPair.Of(call.Pair("dilation")), call.Flag("ceil_mode"));
            return call.Flag("return_indices")
                ? [new("output", result.Output), new("indices", F.Cast(result.Indices, DType.I64))]
                : call.Output(result.Output);
        },
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 3, 6, 8), Attributes = { ["kernel_size"] = 2 } },
            new()
            {
                ["input"] = Sample.Normal(2, 2, 7, 37),
                Attributes = { ["kernel_size"] = 2, ["ceil_mode"] = true, ["return_indices"] = true },
            },
            new()
            {
                ["input"] = Sample.Normal(1, 2, 9, 8),
                Attributes = { ["kernel_size"] = new[] { 3, 2 }, ["stride"] = new[] { 2, 1 }, ["padding"] = 1 },
            },
            new()
            {
                ["input"] = Sample.Normal(3, 11, 12),
                Attributes = { ["kernel_size"] = 3, ["dilation"] = new[] { 2, 1 }, ["stride"] = 2, ["ceil_mode"] = true },
            },
        ],
    };
}

/// <summary>What max_pool2d returns: the maxima and where (i32, row-major in the H x W plane) they were.</summary>
public readonly record struct MaxPool2dResult(Tensor Output, Tensor Indices);

public static partial class F
{
    /// <summary>Maxima over windows of input [N, C, H, W] or [C, H, W]; see <see cref="MaxPoolOp"/>.</summary>
    /// <exception cref="ShapeException">The window does not fit, or an attribute is out of range.</exception>
    public static MaxPool2dResult MaxPool2d(
        Tensor input, SpatialPair kernelSize, SpatialPair? stride = null, SpatialPair? padding = null, SpatialPair? dilation = null,
        bool ceilMode = false)
    {
        if (input.Rank == 3)
        {
            var one = MaxPool2d(Reshape(input, [1, .. input.Shape]), kernelSize, stride, padding, dilation, ceilMode);
            var shape = new Shape(one.Output.Shape.AsSpan()[1..]);
            return new(Reshape(one.Output, shape), Reshape(one.Indices, shape));
        }

        var y = new MaxPoolOp(kernelSize, stride ?? kernelSize, padding ?? 0, dilation ?? 1, ceilMode).Apply(input).Outputs;
        return new(y[0], y[1]);
    }
}
