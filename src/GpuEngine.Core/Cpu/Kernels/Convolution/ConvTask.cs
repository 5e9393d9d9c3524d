using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// A convolution or an input gradient as one computation: every output place sums, over taps and input channels, an input element
/// times a weight. Per group: weight of (output channel o, input channel c, tap r, s) lies at
/// group * GroupStride + o * OutStride + c * InStride + r * KernelWidth + s.
/// </summary>
internal sealed record ConvTask
{
    public required int Images { get; init; }

    public required int Groups { get; init; }

    /// <summary>Input channels per group.</summary>
    public required int InChannels { get; init; }

    /// <summary>Output channels per group.</summary>
    public required int OutChannels { get; init; }

    public required ConvAxis Rows { get; init; }

    public required ConvAxis Columns { get; init; }

    public required int KernelWidth { get; init; }

    public required nint GroupStride { get; init; }

    public required nint OutStride { get; init; }

    public required nint InStride { get; init; }

    public nint InPlane => (nint)Rows.Input * Columns.Input;

    public nint OutPlane => (nint)Rows.Output * Columns.Output;

    public static ConvTask Forward(ConvGeometry g, Shape x, Shape w, Shape y)
    {
        var flat = IsPointwise(g, w);
        var (inputs, outputs, taps) = (w[1], w[0] / g.Groups, w[2] * w[3]);
        return new()
        {
            Images = x[0],
            Groups = g.Groups,
            InChannels = inputs,
            OutChannels = outputs,
            Rows = flat ? One() : ConvAxis.Forward(y[2], x[2], w[2], g.Stride[0], g.Padding[0], g.Dilation[0]),
            Columns = flat ? Flat(x) : ConvAxis.Forward(y[3], x[3], w[3], g.Stride[1], g.Padding[1], g.Dilation[1]),
            KernelWidth = w[3],
            GroupStride = (nint)outputs * inputs * taps,
            OutStride = (nint)inputs * taps,
            InStride = taps,
        };
    }

    public static ConvTask Backward(ConvGeometry g, Shape x, Shape w, Shape y)
    {
        var flat = IsPointwise(g, w);
        var (inputs, outputs, taps) = (w[0] / g.Groups, w[1], w[2] * w[3]);
        return new()
        {
            Images = x[0],
            Groups = g.Groups,
            InChannels = inputs,
            OutChannels = outputs,
            Rows = flat ? One() : ConvAxis.Backward(x[2], y[2], w[2], g.Stride[0], g.Padding[0], g.Dilation[0]),
            Columns = flat ? Flat(x) : ConvAxis.Backward(x[3], y[3], w[3], g.Stride[1], g.Padding[1], g.Dilation[1]),
            KernelWidth = w[3],
            GroupStride = (nint)outputs * inputs * taps,
            OutStride = taps,
            InStride = (nint)outputs * taps,
        };
    }

    // A 1 x 1 convolution does not care where a row ends: the plane is one long row.
    private static bool IsPointwise(ConvGeometry g, Shape w) =>
        w[2] == 1 && w[3] == 1 && g.Stride == [1, 1] && g.Padding == [0, 0];

    private static ConvAxis One() => ConvAxis.Forward(1, 1, 1, 1, 0, 1);

    private static ConvAxis Flat(Shape x) => ConvAxis.Forward(x[2] * x[3], x[2] * x[3], 1, 1, 0, 1);
}
