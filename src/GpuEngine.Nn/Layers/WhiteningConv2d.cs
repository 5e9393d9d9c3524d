using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// A first convolution with kernel k that decorrelates patches of the images (Page 2018; Jordan 2024, section 3.1). Its weight is not
/// learned: [2 C k k, C, k, k], the eigenvectors of the patches' covariance over the roots of their eigenvalues and the same with the
/// opposite sign, made of training images before the first step. Its bias is learned.
/// </summary>
public sealed class WhiteningConv2d : Module
{
    private readonly string _text;
    private readonly ModuleBuffer _weight;
    private readonly Parameter _bias;

    public WhiteningConv2d(int channels, int kernel)
    {
        OutChannels = 2 * channels * kernel * kernel;
        _text = $"whitening conv2d {channels} -> {OutChannels}, {kernel}x{kernel}";
        _weight = Keep(new ModuleBuffer("weight", [OutChannels, channels, kernel, kernel], 0) { WhitensImages = true });
        _bias = Learn(new Parameter("bias", [OutChannels], new Constant(0)));
    }

    /// <summary>Channels of the result.</summary>
    public int OutChannels { get; }

    public override Tensor Forward(Tensor input, Trace trace) => F.Conv2d(input, F.Cast(trace[_weight], input.DType), trace[_bias]);

    public override string ToString() => _text;
}

/// <summary>x times a constant.</summary>
public sealed class Scale(double factor) : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => input * factor;

    public override string ToString() => $"scale {factor}";
}
