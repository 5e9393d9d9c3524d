namespace GpuEngine.Core.Graph;

/// <summary>
/// Instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016): each channel of each sample of [N, C, ...] by itself, i.e.
/// group_norm with C groups. Inputs: x, weight [C] and bias [C] if Affine, running_mean [C] and running_var [C] if Running.
/// Outputs: y, mean [N C], invstd [N C] and, if Running, the updated running statistics, which take the mean over the batch of
/// the instances' means and unbiased variances (torch). With ChannelsLast the input is [N, ..., C].
/// </summary>
public sealed record InstanceNormOp(
    double Eps, double Momentum, bool Affine, bool Running, Activation? Activation = null, bool ChannelsLast = false)
    : RowNormOp(Eps, Affine, Activation)
{
    internal static readonly OpSpec Spec = new("instance_norm", "normalises each channel of each sample")
    {
        Arguments =
        [
            new("input"), new("running_mean", Optional: true, Differentiable: false), new("running_var", Optional: true, Differentiable: false),
            new("weight", Optional: true), new("bias", Optional: true),
        ],
        Attributes =
        [
            new("use_input_stats", true, "normalise with the input's statistics; false takes the running ones"),
            new("momentum", 0.1, "share of the input's statistics in the update of the running ones"),
            new("eps", 1e-5, "added to the variance inside the root"), new("channels_last", false, "the input is [N, ..., C]"),
        ],
        Build = call => BatchNormOp.Named(F.InstanceNorm(
            call["input"], call.Optional("running_mean"), call.Optional("running_var"), call.Optional("weight"), call.Optional("bias"),
            call.Flag("use_input_stats"), call.Number("momentum"), call.Number("eps"), channelsLast: call.Flag("channels_last"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 3, 5) },
            new() { ["input"] = Sample.Normal(2, 3, 4, 9), ["weight"] = Sample.Normal(3), ["bias"] = Sample.Normal(3), ["running_mean"] = Sample.Normal(3), ["running_var"] = Sample.Uniform(0.5, 2, 3), Attributes = { ["momentum"] = 0.3 } },
            new() { ["input"] = Sample.Normal(2, 3, 2, 2, 3), ["weight"] = Sample.Normal(3), ["bias"] = Sample.Normal(3), ["running_mean"] = Sample.Normal(3), ["running_var"] = Sample.Uniform(0.5, 2, 3), Attributes = { ["use_input_stats"] = false } },
            new() { ["input"] = Sample.Normal(2, 4, 5, 6), ["weight"] = Sample.Normal(6), ["bias"] = Sample.Normal(6), Attributes = { ["channels_last"] = true } },
            new() { ["input"] = Sample.Normal(2, 7, 3), ["running_mean"] = Sample.Normal(3), ["running_var"] = Sample.Uniform(0.5, 2, 3), Attributes = { ["channels_last"] = true } },
            new() { ["input"] = Sample.Normal(2, 4, 3), ["running_mean"] = Sample.Normal(3), ["running_var"] = Sample.Uniform(0.5, 2, 3), Attributes = { ["use_input_stats"] = false, ["channels_last"] = true } },
        ],
    };

    public override string Name => "instance_norm";

    public override RowLayout Layout(Shape x)
    {
        var places = x.Rank < 2 ? 1 : NormArguments.Places(x, ChannelsLast);
        if (places == 1)
            throw new ShapeException($"instance_norm: expected an input {(ChannelsLast ? "[N, ..., C]" : "[N, C, ...]")} with more than one place per channel, but got {x}; use batch_norm or layer_norm.");
        var channels = NormArguments.Channels(x, ChannelsLast);
        return new RowLayout((long)x[0] * channels, channels, 1, (int)places, ChannelsLast);
    }

    public override Shape ParameterShape(Shape x) => [NormArguments.Channels(x, ChannelsLast)];

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var types = base.Infer(inputs);
        if (!Running) return types;
        var channel = types[1] with { Shape = ParameterShape(inputs[0].Shape) };
        foreach (var input in inputs.Skip(FirstExtraInput))
        {
            if (input.Shape != channel.Shape || !input.DType.IsFloat())
                throw new ShapeException($"instance_norm: an input of shape {inputs[0].Shape} needs running statistics of shape {channel.Shape}, but got {input}.");
        }

        return [.. types, channel, channel];
    }

    protected override Tensor[] Plain(IReadOnlyList<Tensor> inputs)
    {
        var outputs = Normalise(inputs, out var variance);
        if (!Running) return outputs;
        var (mean, var) = (inputs[FirstExtraInput], inputs[FirstExtraInput + 1]);
        var layout = Layout(inputs[0].Shape);
        if (layout.Rows == 0 || layout.Length == 0) return [.. outputs, F.Cast(mean, variance.DType), F.Cast(var, variance.DType)];
        Shape batch = [(int)(layout.Rows / layout.Groups), layout.Groups];
        Tensor OverBatch(Tensor perRow) => F.Reshape(F.Mean(F.Reshape(perRow, batch), [0]), [layout.Groups]);
        var unbiased = layout.Length / (layout.Length - 1.0);
        return
        [
            .. outputs,
            NormArguments.Blend(mean, OverBatch(outputs[1]), Momentum),
            NormArguments.Blend(var, OverBatch(variance) * unbiased, Momentum),
        ];
    }
}

public static partial class F
{
    /// <summary>
    /// Instance normalisation of input [N, C, ...], or [N, ..., C] with <paramref name="channelsLast"/>; see
    /// <see cref="InstanceNormOp"/>. Without <paramref name="useInputStats"/> it is batch_norm in evaluation.
    /// </summary>
    /// <exception cref="ShapeException">Shapes do not fit, or there is one place per channel.</exception>
    /// <exception cref="UserException">eps is negative.</exception>
    public static BatchNormResult InstanceNorm(
        Tensor input, Tensor? runningMean = null, Tensor? runningVar = null, Tensor? weight = null, Tensor? bias = null,
        bool useInputStats = true, double momentum = 0.1, double eps = 1e-5, Activation? activation = null, bool channelsLast = false)
    {
        NormArguments.CheckEps("instance_norm", eps);
        var channels = input.Rank > 1 ? NormArguments.Channels(input.Shape, channelsLast) : 0;
        var running = NormArguments.Running("instance_norm", runningMean, runningVar, channels, !useInputStats);
        if (!useInputStats)
        {
            // Given statistics do not care how places are arranged: places before channels are more samples.
            var flat = channelsLast && input.Rank > 2 ? Reshape(input, [(int)input.Shape.Product(0, input.Rank - 1), channels]) : input;
            var evaluated = BatchNorm(flat, runningMean, runningVar, weight, bias, false, momentum, eps, activation);
            return evaluated with { Output = Reshape(evaluated.Output, input.Shape) };
        }

        (weight, bias) = NormArguments.Pair(weight, bias);
        Tensor[] inputs =
        [
            input, .. weight is null ? [] : new[] { weight, bias! }, .. running is { } r ? new[] { r.Mean, r.Var } : [],
        ];
        var y = new InstanceNormOp(eps, momentum, weight is not null, running is not null, activation, channelsLast).Apply(inputs).Outputs;
        return new BatchNormResult(y[0], y[1], y[2], runningMean is null ? null : y[3], runningVar is null ? null : y[4]);
    }
}
