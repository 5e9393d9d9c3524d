using GpuEngine.Core;
using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Initializers;

/// <summary>How many inputs one output of a layer sees, and how many outputs one input reaches, as torch counts them.</summary>
public readonly record struct Fans(long In, long Out)
{
    /// <summary>Of a weight [out, in, ...]: both counts include the receptive field.</summary>
    /// <exception cref="UserException">The weight has fewer than two axes.</exception>
    public static Fans Of(Shape weight)
    {
        if (weight.Rank < 2) throw new UserException($"An initializer that scales by fan needs a weight with two or more axes, but got shape {weight}.");
        var field = weight.Product(2, weight.Rank);
        return new Fans(weight[1] * field, weight[0] * field);
    }
}

/// <summary>Which fan a variance is divided by.</summary>
public enum FanMode
{
    /// <summary>Keeps the variance of activations forward.</summary>
    FanIn,

    /// <summary>Keeps the variance of gradients backward.</summary>
    FanOut,
}

/// <summary>The factor by which a nonlinearity shrinks the standard deviation, inverted: torch.nn.init.calculate_gain.</summary>
public static class Gain
{
    private static readonly string[] Names =
        ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"];

    /// <param name="nonlinearity">The name of the activation.</param>
    /// <param name="negativeSlope">The slope of leaky_relu.</param>
    /// <exception cref="UserException">The name is not one that torch has a gain for.</exception>
    public static double Of(string nonlinearity, double negativeSlope = 0.01) => nonlinearity switch
    {
        "tanh" => 5.0 / 3,
        "relu" => Math.Sqrt(2),
        "leaky_relu" => Math.Sqrt(2 / (1 + negativeSlope * negativeSlope)),
        "selu" => 0.75,
        _ when Names.Contains(nonlinearity) => 1,
        _ => throw new UserException(NearestName.Sentence("nonlinearity", nonlinearity, Names)),
    };
}
