namespace GpuEngine.Core.Graph;

/// <summary>What the normalisation ops check alike, and the type their statistics have.</summary>
internal static class NormArguments
{
    /// <summary>Statistics are kept in f32 whatever narrower type the data has, and in f64 for f64.</summary>
    public static DType StatisticsOf(DType x) => x == DType.F64 ? DType.F64 : DType.F32;

    /// <exception cref="UserException">A negative or undefined eps would put NaN into every output.</exception>
    public static void CheckEps(string op, double eps)
    {
        if (!(eps >= 0) || double.IsInfinity(eps)) throw new UserException($"{op}: eps must be a finite number of at least 0, but is {eps}.");
    }

    /// <summary>
    /// Weight and bias come in pairs below this point: a missing partner is the constant that changes nothing.
    /// </summary>
    public static (Tensor? Weight, Tensor? Bias) Pair(Tensor? weight, Tensor? bias)
    {
        if (weight is null && bias is not null) weight = F.Ones(bias.Shape, bias.DType);
        if (bias is null && weight is not null) bias = F.Zeros(weight.Shape, weight.DType);
        return (weight, bias);
    }

    /// <summary>
    /// Running mean and variance of [channels]; one that is missing is replaced by a constant whose update nobody reads.
    /// </summary>
    /// <exception cref="ShapeException">One is missing although it is needed to normalise.</exception>
    public static (Tensor Mean, Tensor Var)? Running(string op, Tensor? mean, Tensor? variance, int channels, bool normalisesWithThem)
    {
        if (normalisesWithThem && (mean is null || variance is null))
            throw new ShapeException($"{op}: normalising with running statistics needs both running_mean and running_var, but {Missing(mean, variance)} missing.");
        if ((mean ?? variance) is not { } given) return null;
        return (mean ?? F.Zeros([channels], given.DType), variance ?? F.Ones([channels], given.DType));
    }

    /// <summary>Channels of [N, C, ...] or [N, ..., C].</summary>
    public static int Channels(Shape x, bool channelsLast) => x[channelsLast ? x.Rank - 1 : 1];

    /// <summary>Elements of a channel of one sample.</summary>
    public static long Places(Shape x, bool channelsLast) => channelsLast ? x.Product(1, x.Rank - 1) : x.Product(2, x.Rank);

    /// <summary>(1 - momentum) running + momentum batch.</summary>
    public static Tensor Blend(Tensor running, Tensor batch, double momentum) =>
        F.Cast(running, batch.DType) * (1 - momentum) + batch * momentum;

    private static string Missing(Tensor? mean, Tensor? variance) =>
        mean is null && variance is null ? "both are" : mean is null ? "running_mean is" : "running_var is";
}
