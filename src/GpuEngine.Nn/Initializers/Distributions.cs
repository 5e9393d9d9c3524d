using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Nn.Initializers;

/// <summary>One value everywhere.</summary>
public sealed class Constant(double value) : Initializer($"constant:{value}")
{
    protected override void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream) => part.Fill(value);
}

/// <summary>Independent normal numbers.</summary>
public sealed class Normal(double mean = 0, double std = 1) : Initializer($"normal:{mean}:{std}")
{
    private readonly double _std = std >= 0 ? std : throw new UserException($"normal: the standard deviation must be at least 0, but is {std}.");

    protected override void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream)
    {
        Philox.FillNormal(part, seed, stream, 0, start);
        for (var i = 0; i < part.Length; i++) part[i] = mean + _std * part[i];
    }
}

/// <summary>Independent numbers, uniform in [low, high).</summary>
public sealed class Uniform(double low = 0, double high = 1) : Initializer($"uniform:{low}:{high}")
{
    private readonly double _width = low <= high ? high - low : throw new UserException($"uniform: the lower bound {low} is above the upper bound {high}.");

    protected override void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream)
    {
        Philox.FillUniform(part, seed, stream, 0, start);
        for (var i = 0; i < part.Length; i++) part[i] = low + _width * part[i];
    }
}

/// <summary>
/// Independent numbers of mean 0 whose standard deviation depends on the fans. All published schemes are of this kind.
/// </summary>
public abstract class VarianceScaling(string name, bool normal) : Initializer(name)
{
    /// <summary>The standard deviation of a weight with the given fans.</summary>
    protected abstract double Std(Fans fans);

    protected sealed override void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream)
    {
        var std = Std(Fans.Of(shape));
        if (normal)
        {
            Philox.FillNormal(part, seed, stream, 0, start);
            for (var i = 0; i < part.Length; i++) part[i] *= std;
            return;
        }

        // A uniform number in [-b, b) has the variance b^2/3.
        var bound = Math.Sqrt(3) * std;
        Philox.FillUniform(part, seed, stream, 0, start);
        for (var i = 0; i < part.Length; i++) part[i] = bound * (2 * part[i] - 1);
    }
}

/// <summary>Glorot and Bengio 2010, equation 16: std = gain sqrt(2/(fan_in + fan_out)).</summary>
public sealed class Xavier(bool normal = false, double gain = 1) : VarianceScaling($"xavier_{(normal ? "normal" : "uniform")}:{gain}", normal)
{
    protected override double Std(Fans fans) => gain * Math.Sqrt(2.0 / Math.Max(fans.In + fans.Out, 1));
}

/// <summary>
/// He et al. 2015, equations 10 and 14: std = gain/sqrt(fan). torch's defaults: leaky_relu with slope a = 0, that is the gain
/// sqrt(2); torch's layers start with the uniform form and a = sqrt(5), that is bounds of 1/sqrt(fan_in).
/// </summary>
public sealed class Kaiming(bool normal = true, FanMode mode = FanMode.FanIn, string nonlinearity = "leaky_relu", double a = 0)
    : VarianceScaling($"kaiming_{(normal ? "normal" : "uniform")}:{(mode == FanMode.FanIn ? "fan_in" : "fan_out")}:{nonlinearity}:{a}", normal)
{
    private readonly double _gain = Gain.Of(nonlinearity, a);

    protected override double Std(Fans fans) => _gain / Math.Sqrt(Math.Max(mode == FanMode.FanIn ? fans.In : fans.Out, 1));
}

/// <summary>LeCun et al. 1998, "Efficient BackProp", section 4.6: std = 1/sqrt(fan_in); for SELU nets.</summary>
public sealed class LeCun(bool normal = true) : VarianceScaling(normal ? "lecun_normal" : "lecun_uniform", normal)
{
    protected override double Std(Fans fans) => 1 / Math.Sqrt(Math.Max(fans.In, 1));
}

/// <summary>
/// Glorot's uniform form as lecture S1 types it (erratum E4): bounds sqrt(6)/(fan_in + fan_out), the root over the 6 alone.
/// </summary>
public sealed class XavierLiteral() : VarianceScaling("xavier_literal", false)
{
    protected override double Std(Fans fans) => Math.Sqrt(2) / Math.Max(fans.In + fans.Out, 1);
}

/// <summary>Lecture S3's normal form (erratum E5): N(0, 1) 2/sqrt(fan_in), twice the variance of He: ReLU nets double at every layer.</summary>
public sealed class HeLiteral() : VarianceScaling("he_literal", true)
{
    protected override double Std(Fans fans) => 2 / Math.Sqrt(Math.Max(fans.In, 1));
}
