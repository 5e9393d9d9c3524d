using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Launchers;

/// <summary>Which of the three tensors of a convolution is computed.</summary>
internal enum ConvRole
{
    Forward, Input, Weight,
}

/// <summary>What comes behind the sums of a forward convolution: a bias per filter, a tensor of y's type, relu or not.</summary>
internal sealed record ConvEpilogue(bool Residual, bool Relu)
{
    public override string ToString() => $" + bias{(Residual ? " + residual" : "")}{(Relu ? " + relu" : "")}";
}

/// <summary>A convolution to run, its shapes as [N, C, H, W], [K, C/groups, R, S] and [N, K, P, Q] whatever the layout in memory.</summary>
internal sealed record ConvProblem(ConvRole Role, ConvGeometry Geometry, Shape X, Shape W, Shape Y, bool IsChannelsLast)
{
    /// <summary>From shapes with channels last.</summary>
    public static ConvProblem ChannelsLast(ConvRole role, ConvGeometry geometry, Shape x, Shape w, Shape y) =>
        new(role, geometry, First(x), First(w), First(y), true);

    public bool IsEmpty => X.Elements == 0 || W.Elements == 0 || Y.Elements == 0;

    /// <summary>Whether every filter sees one channel: products of vectors, for which matrices do not pay.</summary>
    public bool IsDepthwise => Geometry.Groups > 1 && W[1] == 1;

    /// <summary>The size arguments of the generated kernels.</summary>
    public long[] Sizes =>
    [
        X[0], X[1], X[2], X[3], W[0], W[2], W[3], Y[2], Y[3], Geometry.Stride[0], Geometry.Stride[1], Geometry.Padding[0], Geometry.Padding[1],
        Geometry.Dilation[0], Geometry.Dilation[1], Geometry.Groups,
    ];

    private static Shape First(Shape last) => [last[0], last[3], last[1], last[2]];
}
