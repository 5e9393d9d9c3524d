using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>Batch normalisation over the second axis of [N, C, ...], with running statistics (Ioffe and Szegedy 2015).</summary>
public sealed class BatchNorm : Module
{
    private readonly int _features;
    private readonly double _eps;
    private readonly double _momentum;
    private readonly Parameter _weight;
    private readonly Parameter _bias;
    private readonly ModuleBuffer _mean;
    private readonly ModuleBuffer _var;

    /// <param name="features">Channels C.</param>
    /// <param name="eps">Added to the variance inside the root.</param>
    /// <param name="momentum">Share of the batch statistics in the update of the running ones.</param>
    /// <param name="gamma">
    /// Where the weight starts. 0 in the last norm of a residual branch makes the block an identity at first (Goyal et al. 2017,
    /// section 5.1).
    /// </param>
    public BatchNorm(int features, double eps = 1e-5, double momentum = 0.1, double gamma = 1)
    {
        (_features, _eps, _momentum) = (features, eps, momentum);
        _weight = Learn(new Parameter("weight", [features], new Constant(gamma)));
        _bias = Learn(new Parameter("bias", [features], new Constant(0)));
        _mean = Keep(new ModuleBuffer("running_mean", [features], 0));
        _var = Keep(new ModuleBuffer("running_var", [features], 1));
    }

    public override Tensor Forward(Tensor input, Trace trace)
    {
        var result = F.BatchNorm(input, trace[_mean], trace[_var], trace.Master(_weight), trace.Master(_bias), trace.Training, _momentum, _eps);
        if (trace.Training)
        {
            trace.Update(_mean, result.RunningMean!);
            trace.Update(_var, result.RunningVar!);
        }

        return result.Output;
    }

    public override string ToString() => $"batch_norm {_features}";
}

/// <summary>
/// Batch normalisation without a scale whose bias learns faster (Jordan 2024, section 3.4, after tysam-code's hlb-CIFAR10). The bias is
/// factor b with b learned: gradient descent then moves it factor^2 times as fast and shrinks it by weight decay as it does everything else.
/// </summary>
public sealed class ShiftBatchNorm : Module
{
    private readonly int _features;
    private readonly double _factor;
    private readonly double _eps;
    private readonly double _momentum;
    private readonly Parameter _bias;
    private readonly ModuleBuffer _mean;
    private readonly ModuleBuffer _var;

    /// <param name="features">Channels C.</param>
    /// <param name="rate">How many times as fast as the rest the bias moves under SGD, at least 1.</param>
    /// <param name="eps">Added to the variance inside the root.</param>
    /// <param name="momentum">Share of the batch statistics in the update of the running ones.</param>
    public ShiftBatchNorm(int features, double rate, double eps, double momentum)
    {
        (_features, _factor, _eps, _momentum) = (features, Math.Sqrt(rate), eps, momentum);
        _bias = Learn(new Parameter("bias", [features], new Constant(0)));
        _mean = Keep(new ModuleBuffer("running_mean", [features], 0));
        _var = Keep(new ModuleBuffer("running_var", [features], 1));
    }

    public override Tensor Forward(Tensor input, Trace trace)
    {
        var result = F.BatchNorm(
            input, trace[_mean], trace[_var], F.Ones([_features], DType.F32), trace.Master(_bias) * _factor, trace.Training, _momentum, _eps);
        if (trace.Training)
        {
            trace.Update(_mean, result.RunningMean!);
            trace.Update(_var, result.RunningVar!);
        }

        return result.Output;
    }

    public override string ToString() => $"batch_norm {_features} without scale";
}

/// <summary>Normalisation of the last axis (Ba, Kiros and Hinton 2016).</summary>
public sealed class LayerNorm : Module
{
    private readonly int _features;
    private readonly double _eps;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    public LayerNorm(int features, double eps = 1e-5, double gamma = 1)
    {
        (_features, _eps) = (features, eps);
        _weight = Learn(new Parameter("weight", [features], new Constant(gamma)));
        _bias = Learn(new Parameter("bias", [features], new Constant(0)));
    }

    public override Tensor Forward(Tensor input, Trace trace) => F.LayerNorm(input, [_features], trace.Master(_weight), trace.Master(_bias), _eps);

    public override string ToString() => $"layer_norm {_features}";
}

/// <summary>Normalisation of groups of channels of [N, C, ...] (Wu and He 2018).</summary>
public sealed class GroupNorm : Module
{
    private readonly int _groups;
    private readonly int _channels;
    private readonly double _eps;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    public GroupNorm(int groups, int channels, double eps = 1e-5, double gamma = 1)
    {
        (_groups, _channels, _eps) = (groups, channels, eps);
        _weight = Learn(new Parameter("weight", [channels], new Constant(gamma)));
        _bias = Learn(new Parameter("bias", [channels], new Constant(0)));
    }

    public override Tensor Forward(Tensor input, Trace trace) => F.GroupNorm(input, _groups, trace.Master(_weight), trace.Master(_bias), _eps);

    public override string ToString() => $"group_norm {_channels} in {_groups}";
}
