namespace GpuEngine.Core.Graph;

/// <summary>
/// Batch normalisation over every axis but the second, or but the last if ChannelsLast (Ioffe and Szegedy 2015, algorithm 1), with an
/// optional fused residual and activation: y = activation((x - mean) invstd weight + bias + residual).
/// Inputs: x [N, C, ...] or [N, ..., C], then weight [C] and bias [C] if Affine, then running_mean [C] and running_var [C] if Running,
/// then residual (x's type) if Residual.
/// Outputs: y, the mean [C] and 1/sqrt(var + eps) [C] that were used, the updated running_mean and running_var if Running, and if
/// <see cref="HasMask"/> the sign bits that the gradient needs (<see cref="SignMask"/>) in place of the residual, and with
/// <paramref name="Counts"/> (in training) how many values of each channel y has above 0, i64 [C]: a dead unit has none.
/// Training normalises with the biased batch variance; the running variance takes the unbiased one (m/(m-1), paper and torch)
/// unless <paramref name="UnbiasedRunning"/> is false. Evaluation uses the running statistics and leaves them as they are.
/// </summary>
public sealed record BatchNormOp(
    bool Training, double Momentum, double Eps, bool Affine, bool Running, Activation? Activation = null, bool UnbiasedRunning = true,
    bool Residual = false, bool ChannelsLast = false, bool Counts = false) : FusedOp
{
    internal static readonly OpSpec Spec = new("batch_norm", "normalises each channel over the batch and all places")
    {
        Arguments =
        [
            new("input"), new("running_mean", Optional: true, Differentiable: false), new("running_var", Optional: true, Differentiable: false),
            new("weight", Optional: true), new("bias", Optional: true),
        ],
        Attributes =
        [
            new("training", false, "normalise with batch statistics and update the running ones"),
            new("momentum", 0.1, "share of the batch statistics in the update of the running ones"),
            new("eps", 1e-5, "added to the variance inside the root"),
            new("unbiased", true, "running_var takes the unbiased variance (torch); false takes the biased one"),
            new("channels_last", false, "the channels are the last axis, [N, ..., C]"),
        ],
        Build = call => Named(F.BatchNorm(
            call["input"], call.Optional("running_mean"), call.Optional("running_var"), call.Optional("weight"), call.Optional("bias"),
            call.Flag("training"), call.Number("momentum"), call.Number("eps"), null, call.Flag("unbiased"),
            channelsLast: call.Flag("channels_last"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(6, 5), Attributes = { ["training"] = true } },
            new() { ["input"] = Sample.Normal(7, 19), ["weight"] = Sample.Normal(19), ["bias"] = Sample.Normal(19), ["running_mean"] = Sample.Normal(19), ["running_var"] = Sample.Uniform(0.5, 2, 19), Attributes = { ["training"] = true } },
            new() { ["input"] = Sample.Normal(3, 4, 5, 3), ["weight"] = Sample.Normal(4), ["bias"] = Sample.Normal(4), ["running_mean"] = Sample.Normal(4), ["running_var"] = Sample.Uniform(0.5, 2, 4), Attributes = { ["training"] = true, ["momentum"] = 0.3, ["unbiased"] = false } },
            new() { ["input"] = Sample.Normal(3, 4, 5, 3), ["weight"] = Sample.Normal(4), ["bias"] = Sample.Normal(4), ["running_mean"] = Sample.Normal(4), ["running_var"] = Sample.Uniform(0.5, 2, 4) },
            new() { ["input"] = Sample.Normal(2, 5, 3, 6), ["weight"] = Sample.Normal(6), ["bias"] = Sample.Normal(6), ["running_mean"] = Sample.Normal(6), ["running_var"] = Sample.Uniform(0.5, 2, 6), Attributes = { ["training"] = true, ["channels_last"] = true } },
            new() { ["input"] = Sample.Normal(3, 4, 7), ["running_mean"] = Sample.Normal(7), ["running_var"] = Sample.Uniform(0.5, 2, 7), Attributes = { ["channels_last"] = true } },
        ],
    };

    public override string Name => "batch_norm";

    /// <summary>
    /// Whether the op keeps one bit per element for its gradient: where a residual is added, the sign of z cannot be made again from x,
    /// and one bit takes the place of the residual in memory and in the backward pass.
    /// </summary>
    public bool HasMask => Training && Residual && Activation is Relu;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (!x.DType.IsFloat() || x.Shape.Rank < 2) throw Mismatch(Name, ChannelsLast ? "a float tensor [N, ..., C]" : "a float tensor [N, C, ...]", inputs);
        var channel = StatisticsType(x, ChannelsLast);
        var channels = channel.Shape[0];
        if (Residual && inputs[^1] != x)
            throw new ShapeException($"batch_norm: the residual must have the type of the input, {x}, but is {inputs[^1]}.");
        foreach (var input in inputs.Skip(1).Take(ChannelInputs))
        {
            if (input.Shape != channel.Shape || !input.DType.IsFloat())
                throw new ShapeException($"batch_norm: an input of shape {x.Shape} has {channels} channels and needs parameters of shape {channel.Shape}, but got {input}.");
        }

        var values = x.Elements / Math.Max(channels, 1);
        if (Training && values < 2 && x.Elements > 0)
            throw new ShapeException($"batch_norm: training needs more than one value per channel, but the input {x.Shape} has one; use a larger batch or group_norm.");
        if (Counts && !Training) throw new ShapeException("batch_norm: values are counted in training only.");
        if (!Training && !Running) throw new ShapeException("batch_norm: evaluation needs running_mean and running_var.");
        TensorType[] mask = HasMask ? [SignMask.TypeOf(x.Shape, ChannelsLast)] : [];
        TensorType[] running = Running ? [channel, channel] : [], counts = Counts ? [channel with { DType = DType.I64 }] : [];
        return [x, channel, channel, .. running, .. mask, .. counts];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, statistics) = (inputs[0], NormArguments.StatisticsOf(inputs[0].DType));
        if (Counts)
        {
            var uncounted = (this with { Counts = false }).Apply([.. inputs]).Outputs;
            var positive = F.Cast(F.Gt(uncounted[0], F.Scalar(0, x.DType)), DType.I64);
            return [.. uncounted, F.Reshape(F.Sum(positive, Layout(x.Shape, ChannelsLast).Axes), [x.Shape[ChannelAxis(x.Shape, ChannelsLast)]])];
        }

        if (Activation is not null || Residual)
        {
            var plain = (this with { Activation = null, Residual = false }).Apply([.. inputs.Take(1 + ChannelInputs)]).Outputs;
            var z = F.Cast(plain[0], statistics);
            if (Residual) z += F.Cast(inputs[^1], statistics);
            var y1 = Activation is null ? z : Activation.On(z);
            return [F.Cast(y1, x.DType), .. plain.Skip(1), .. HasMask ? new[] { SignMask.Pack(z, ChannelsLast) } : []];
        }

        var (runningMean, runningVar) = Running ? (inputs[FirstRunning], inputs[FirstRunning + 1]) : (null, null);
        var (axes, column, flat) = Layout(x.Shape, ChannelsLast);
        var wide = F.Cast(x, statistics);
        Tensor mean, variance;
        if (Training && x.Type.Elements == 0)
        {
            // An empty batch has no statistics: it changes no running ones either (torch).
            (mean, variance) = (F.Zeros(flat, statistics), F.Zeros(flat, statistics));
        }
        else if (Training)
        {
            var m = F.Mean(wide, axes);
            var centred = wide - m;
            (mean, variance) = (F.Reshape(m, flat), F.Reshape(F.Mean(centred * centred, axes), flat));
        }
        else
        {
            (mean, variance) = (F.Cast(runningMean!, statistics), F.Cast(runningVar!, statistics));
        }

        var invstd = F.Rsqrt(variance + Eps);
        var y = (wide - F.Reshape(mean, column)) * F.Reshape(invstd, column);
        if (Affine) y = y * F.Reshape(F.Cast(inputs[1], statistics), column) + F.Reshape(F.Cast(inputs[2], statistics), column);
        y = F.Cast(y, x.DType);
        if (!Running) return [y, mean, invstd];
        if (!Training || x.Type.Elements == 0) return [y, mean, invstd, F.Cast(runningMean!, statistics), F.Cast(runningVar!, statistics)];
        var count = (double)x.Type.Elements / flat[0];
        var newVar = UnbiasedRunning ? variance * (count / (count - 1)) : variance;
        return [y, mean, invstd, NormArguments.Blend(runningMean!, mean, Momentum), NormArguments.Blend(runningVar!, newVar, Momentum)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        // Gradients into the statistics only arise in second derivatives; the decomposition handles them.
        if (outputGradients.Skip(1).Any(g => g is not null)) return Autodiff.ThroughDecomposition(this, node, outputGradients);
        var result = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return result;
        // Without an activation the residual's gradient is dy itself, and the backward op need not know of it.
        var residual = Residual && Activation is not null;
        var op = new BatchNormBackwardOp(Training, Affine, Activation, residual, ChannelsLast, HasMask);
        Tensor[] inputs =
        [
            g, node.Inputs[0], node.Outputs[1], node.Outputs[2],
            .. Affine ? new[] { node.Inputs[1] } : [], .. op.NeedsBias ? new[] { node.Inputs[2] } : [],
            .. HasMask ? new[] { node.Outputs[MaskOutput] } : residual ? new[] { node.Inputs[^1] } : [],
        ];
        var backward = op.Apply(inputs).Outputs;
        result[0] = backward[0];
        if (Affine) (result[1], result[2]) = (F.Cast(backward[1], node.Inputs[1].DType), F.Cast(backward[2], node.Inputs[2].DType));
        if (Residual) result[^1] = residual ? backward[^1] : g;
        return result;
    }

    /// <summary>The running statistics are updated where they lie.</summary>
    public override int InPlaceInput(int output) => output switch
    {
        0 => 0,
        3 or 4 when Running => output + (Affine ? 0 : -2),
        _ => -1,
    };

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 8 * node.Inputs[0].Type.Elements);

    internal static TensorType StatisticsType(TensorType x, bool channelsLast) =>
        new(NormArguments.StatisticsOf(x.DType), [x.Shape[ChannelAxis(x.Shape, channelsLast)]]);

    internal static int ChannelAxis(Shape x, bool channelsLast) => channelsLast ? x.Rank - 1 : 1;

    /// <summary>The axes that are summed over, and a vector of channels as it broadcasts against x and by itself.</summary>
    internal static (Ints Axes, Shape Column, Shape Flat) Layout(Shape x, bool channelsLast)
    {
        var channel = ChannelAxis(x, channelsLast);
        var axes = (Ints)Enumerable.Range(0, x.Rank).Where(a => a != channel).ToArray();
        return (axes, [.. Enumerable.Range(0, x.Rank).Select(a => a == channel ? x[a] : 1)], [x[channel]]);
    }

    /// <summary>The results by torch's names.</summary>
    internal static IReadOnlyList<NamedTensor> Named(BatchNormResult result)
    {
        List<NamedTensor> outputs = [new("output", result.Output)];
        if (result.RunningMean is { } mean) outputs.Add(new("running_mean", mean));
        if (result.RunningVar is { } variance) outputs.Add(new("running_var", variance));
        return outputs;
    }

    /// <summary>Where the sign bits stand among the outputs.</summary>
    public int MaskOutput => Running ? 5 : 3;

    /// <summary>Where running_mean stands among the inputs.</summary>
    internal int FirstRunning => Affine ? 3 : 1;

    private int ChannelInputs => (Affine ? 2 : 0) + (Running ? 2 : 0);
}

/// <summary>What batch_norm returns; the statistics are those that were used, the running ones are the updated ones.</summary>
public sealed record BatchNormResult(Tensor Output, Tensor Mean, Tensor InvStd, Tensor? RunningMean, Tensor? RunningVar)
{
    /// <summary>How many values of each channel lie above 0, where it was asked for.</summary>
    public Tensor? Positive { get; init; }
}

public static partial class F
{
    /// <summary>Batch normalisation of input [N, C, ...], or [N, ..., C] if channelsLast; see <see cref="BatchNormOp"/>.</summary>
    /// <exception cref="ShapeException">The shapes do not fit, or training sees one value per channel.</exception>
    /// <exception cref="UserException">eps is negative.</exception>
    public static BatchNormResult BatchNorm(
        Tensor input, Tensor? runningMean, Tensor? runningVar, Tensor? weight = null, Tensor? bias = null,
        bool training = false, double momentum = 0.1, double eps = 1e-5, Activation? activation = null, bool unbiased = true,
        Tensor? residual = null, bool channelsLast = false, bool counts = false)
    {
        NormArguments.CheckEps("batch_norm", eps);
        var channels = input.Rank > 1 ? input.Shape[BatchNormOp.ChannelAxis(input.Shape, channelsLast)] : 0;
        var running = NormArguments.Running("batch_norm", runningMean, runningVar, channels, !training);
        (weight, bias) = NormArguments.Pair(weight, bias);
        var op = new BatchNormOp(training, momentum, eps, weight is not null, running is not null, activation, unbiased, residual is not null, channelsLast, counts);
        Tensor[] inputs =
        [
            input, .. weight is null ? [] : new[] { weight, bias! }, .. running is { } r ? new[] { r.Mean, r.Var } : [],
            .. residual is null ? [] : new[] { residual },
        ];
        var y = op.Apply(inputs).Outputs;
        return new BatchNormResult(y[0], y[1], y[2], runningMean is null ? null : y[3], runningVar is null ? null : y[4]) { Positive = counts ? y[^1] : null };
    }
}
