namespace GpuEngine.Core.Graph;

/// <summary>The samples of conv2d: one for every path of its kernels.</summary>
internal static class Conv2dSamples
{
    public static IReadOnlyList<OpSample> All =>
    [
        // Few and many output channels (pixels or channels along the lanes), asymmetric windows, unequal attributes per axis.
        Of([2, 3, 7, 8], [4, 3, 3, 3], true),
        Of([3, 2, 9, 6], [17, 2, 3, 2], true, ("stride", new[] { 2, 1 }), ("padding", new[] { 1, 0 })),
        Of([1, 2, 9, 11], [3, 2, 3, 3], false, ("dilation", new[] { 2, 3 }), ("padding", new[] { 2, 1 })),
        Of([2, 5, 6, 19], [6, 5, 1, 5], true, ("stride", 3), ("padding", new[] { 0, 2 })),
        // 1 x 1, with a step too, and a window as large as the image.
        Of([2, 6, 3, 5], [7, 6, 1, 1], true),
        Of([2, 6, 5, 5], [4, 6, 1, 1], false, ("stride", 2)),
        Of([5, 3, 4, 4], [9, 3, 4, 4], true),
        // Groups, depthwise with and without a multiplier.
        Of([2, 4, 5, 5], [6, 2, 3, 3], true, ("groups", 2), ("padding", 1)),
        Of([2, 3, 6, 7], [3, 1, 3, 3], true, ("groups", 3), ("padding", 1)),
        Of([1, 2, 9, 8], [4, 1, 3, 2], false, ("groups", 2), ("stride", 2)),
        // Padding by name, an even window (asymmetric zeros), one image without a batch axis.
        Of([1, 2, 5, 6], [3, 2, 2, 4], true, ("padding", "same"), ("dilation", new[] { 1, 2 })),
        Of([2, 6, 7], [3, 2, 3, 3], true, ("padding", "valid")),
        // A step larger than the window: some inputs are never read.
        Of([1, 2, 8, 8], [2, 2, 2, 2], false, ("stride", 3)),
    ];

    private static OpSample Of(int[] input, int[] weight, bool bias, params (string Name, object Value)[] attributes)
    {
        var sample = new OpSample
        {
            ["input"] = Sample.Normal(input),
            ["weight"] = Sample.Normal(weight),
            Attributes = attributes.ToDictionary(a => a.Name, a => (object?)a.Value),
        };
        if (bias) sample["bias"] = Sample.Normal(weight[0]);
        return sample;
    }
}
