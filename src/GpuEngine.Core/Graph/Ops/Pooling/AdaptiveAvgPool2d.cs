namespace GpuEngine.Core.Graph;

/// <summary>
/// torch's adaptive_avg_pool2d: OutputSize windows per axis that cover the input evenly, window i being
/// [floor(i H / P), ceil((i + 1) H / P)). OutputSize 1 is the global average; -1 keeps the input's extent (torch's None).
/// </summary>
public sealed record AdaptiveAvgPool2dOp(Ints OutputSize) : AveragingOp
{
    internal static readonly OpSpec Spec = new("adaptive_avg_pool2d", "mean over windows, given their number")
    {
        Attributes = [new("output_size", null, "number of windows; a number or [height, width]; in a list null keeps the input's extent")],
        Build = call => call.Output(F.AdaptiveAvgPool2d(call["input"], AdaptivePool.OutputSize(call))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 3, 8, 8), Attributes = { ["output_size"] = 1 } },
            new() { ["input"] = Sample.Normal(2, 3, 5, 7), Attributes = { ["output_size"] = new[] { 3, 4 } } },
            new() { ["input"] = Sample.Normal(3, 4, 6), Attributes = { ["output_size"] = new[] { 5, 2 } } },
        ],
    };

    public override string Name => "adaptive_avg_pool2d";

    public override PoolWindow[] Windows(int axis, int input) => AdaptivePool.Windows(OutputSize[axis], input);

    internal override double Divisor(PoolWindow high, PoolWindow wide) => (double)high.Extent * wide.Extent;

    protected override void Check(Shape input) => AdaptivePool.Check(Name, OutputSize, input);
}

public static partial class F
{
    /// <summary>Means over <paramref name="outputSize"/> windows of input [N, C, H, W] or [C, H, W]; 1 is the global average.</summary>
    /// <exception cref="ShapeException">The input has an empty plane, or the size is negative.</exception>
    public static Tensor AdaptiveAvgPool2d(Tensor input, SpatialPair outputSize) => OnImages(input, new AdaptiveAvgPool2dOp(outputSize));
}
