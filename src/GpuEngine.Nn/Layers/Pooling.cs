using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>Maximum over windows of [N, C, H, W].</summary>
/// <param name="kernel">Extent of the window in both directions.</param>
/// <param name="stride">Distance of windows; null takes the kernel.</param>
/// <param name="padding">Rows and columns of minus infinity around the image, at most half the kernel.</param>
public sealed class MaxPool2d(int kernel, int? stride = null, int padding = 0) : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => F.MaxPool2d(input, kernel, stride ?? kernel, padding).Output;

    public override string ToString() => $"max_pool2d {kernel}";
}

/// <summary>Mean over windows that divide [N, C, H, W] into <paramref name="size"/> rows and columns; 1 is the global mean.</summary>
public sealed class AdaptiveAvgPool2d(int size = 1) : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => F.AdaptiveAvgPool2d(input, size);

    public override string ToString() => $"adaptive_avg_pool2d {size}";
}

/// <summary>Brightness normalisation across neighbouring channels (Krizhevsky et al. 2012, section 3.3).</summary>
public sealed class LocalResponseNorm(int size, double alpha, double beta, double k) : Module
{
    public override Tensor Forward(Tensor input, Trace trace) => F.LocalResponseNorm(input, size, alpha, beta, k);

    public override string ToString() => $"local_response_norm {size}";
}
