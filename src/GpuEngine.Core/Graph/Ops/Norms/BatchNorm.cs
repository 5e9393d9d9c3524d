namespace GpuEngine.Core.Graph;

/// <summary>
/// Batch normalisation over every axis but the second (Ioffe and Szegedy 2015, algorithm 1), with an optional fused activation.
/// Inputs: x [N, C, ...], then weight [C] and bias [C] if Affine, then running_mean [C] and running_var [C] if Running.
/// Outputs: y, the mean [C] and 1/sqrt(var + eps) [C] that were used, and the updated running_mean and running_var if Running.
/// Training normalises with the biased batch variance; the running variance takes the unbiased one (m/(m-1), paper and torch)
/// unless <paramref name="UnbiasedRunning"/> is false. Evaluation uses the running statistics and leaves them as they are.
/// </summary>
public sealed record BatchNormOp(
    bool Training, double Momentum, double Eps, bool Affine, bool Running, Activation? Activation = null, bool UnbiasedRunning = true) : FusedOp
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
        ],
        Build = call =>
        {
            var result = F.BatchNorm(
                call["input"], call.Optional("running_mean"), call.Optional("running_var"), call.Optional("weight"), call.Optional("bias"),
                call.Flag("training"), call.Number("momentum"), call.Number("eps"), null, call.Flag("unbiased"));
            List<NamedTensor> outputs = [new("output", result.Output)];
            if (result.RunningMean is { } mean) outputs.Add(new("running_mean", mean));
            if (result.RunningVar is { } variance) outputs.Add(new("running_var", variance));
            return outputs;
        },
        Samples =
        [
            new() { ["input"] = Sample.Normal(6, 5), Attributes = { ["training"] = true } },
            new() { ["input"] = Sample.Normal(7, 19), ["weight"] = Sample.Normal(19), ["bias"] = Sample.Normal(19), ["running_mean"] = Sample.Normal(19), ["running_var"] = Sample.Uniform(0.5, 2, 19), Attributes = { ["training"] = true } },
            new() { ["input"] = Sample.Normal(3, 4, 5, 3), ["weight"] = Sample.Normal(4), ["bias"] = Sample.Normal(4), ["running_mean"] = Sample.Normal(4), ["running_var"] = Sample.Uniform(0.5, 2, 4), Attributes = { ["training"] = true, ["momentum"] = 0.3, ["unbiased"] = false } },
            new() { ["input"] = Sample.Normal(3, 4, 5, 3), ["weight"] = Sample.Normal(4), ["bias"] = Sample.Normal(4), ["running_mean"] = Sample.Normal(4), ["running_var"] = Sample.Uniform(0.5, 2, 4) },
        ],
    };

    public override string Name => "batch_norm";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (!x.DType.IsFloat() || x.Shape.Rank < 2) throw Mismatch(Name, "a float tensor [N, C, ...]", inputs);
        var channel = StatisticsType(x);
        foreach (var input in inputs.Skip(1))
        {
            if (input.Shape != channel.Shape || !input.DType.IsFloat())
                throw new ShapeException($"batch_norm: an input of shape {x.Shape} has {x.Shape[1]} channels and needs parameters of shape {channel.Shape}, but got {input}.");
        }

        var values = x.Elements / Math.Max(x.Shape[1], 1);
        if (Training && values < 2 && x.Elements > 0)
            throw new ShapeException($"batch_norm: training needs more than one value per channel, but the input {x.Shape} has one; use a larger batch or group_norm.");
        if (!Training && !Running) throw new ShapeException("batch_norm: evaluation needs running_mean and running_var.");
        return Running ? [x, channel, channel, channel, channel] : [x, channel, channel];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, statistics) = (inputs[0], StatisticsType(inputs[0].Type).DType);
        var (weight, bias, runningMean, runningVar) = Split(inputs);
        var axes = (Ints)Enumerable.Range(0, x.Rank).Where(a => a != 1).ToArray();
        Shape column = [1, x.Shape[1], .. Enumerable.Repeat(1, x.Rank - 2)];
        Shape flat = [x.Shape[1]];
        var wide = F.Cast(x, statistics);
        Tensor mean, variance;
        if (Training)
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
        if (Affine) y = y * F.Reshape(F.Cast(weight!, statistics), column) + F.Reshape(F.Cast(bias!, statistics), column);
        if (Activation is not null) y = Activation.On(y);
        y = F.Cast(y, x.DType);
        if (!Running) return [y, mean, invstd];
        if (!Training) return [y, mean, invstd, F.Cast(runningMean!, statistics), F.Cast(runningVar!, statistics)];
        var count = (double)x.Type.Elements / x.Shape[1];
        var newVar = UnbiasedRunning ? variance * (count / (count - 1)) : variance;
        return [y, mean, invstd, Blend(runningMean!, mean), Blend(runningVar!, newVar)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        // Gradients into the statistics only arise in second derivatives; the decomposition handles them.
        if (outputGradients.Skip(1).Any(g => g is not null)) return Autodiff.ThroughDecomposition(this, node, outputGradients);
        var result = new Tensor?[node.Inputs.Count];
        if (outputGradients[0] is not { } g) return result;
        var x = node.Inputs[0];
        Tensor[] inputs = [g, x, node.Outputs[1], node.Outputs[2], .. Affine ? new[] { node.Inputs[1], node.Inputs[2] } : []];
        var backward = new BatchNormBackwardOp(Training, Affine, Activation).Apply(inputs).Outputs;
        result[0] = backward[0];
        if (Affine) (result[1], result[2]) = (F.Cast(backward[1], node.Inputs[1].DType), F.Cast(backward[2], node.Inputs[2].DType));
        return result;
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 8 * node.Inputs[0].Type.Elements);

    /// <summary>Statistics are kept in f32 whatever narrower type the data has, and in f64 for f64.</summary>
    internal static TensorType StatisticsType(TensorType x) => new(x.DType == DType.F64 ? DType.F64 : DType.F32, [x.Shape[1]]);

    private (Tensor? Weight, Tensor? Bias, Tensor? Mean, Tensor? Var) Split(IReadOnlyList<Tensor> inputs)
    {
        var running = Affine ? 3 : 1;
        return (Affine ? inputs[1] : null, Affine ? inputs[2] : null, Running ? inputs[running] : null, Running ? inputs[running + 1] : null);
    }

    private Tensor Blend(Tensor running, Tensor batch) => F.Cast(running, batch.DType) * (1 - Momentum) + batch * Momentum;
}

/// <summary>
/// The gradient of <see cref="BatchNormOp"/>: inputs (dy, x, mean, invstd) and, if Affine, (weight, bias); outputs dx and, if
/// Affine, dweight and dbias. With a fused activation the pre-activation is recomputed from x. In training the mean and the
/// variance depend on x: dx = weight invstd (dz - mean(dz) - xhat mean(dz xhat)) (Ioffe and Szegedy 2015, section 3).
/// </summary>
public sealed record BatchNormBackwardOp(bool Training, bool Affine, Activation? Activation) : FusedOp
{
    public override string Name => "batch_norm_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (dy, x) = (inputs[0], inputs[1]);
        var channel = BatchNormOp.StatisticsType(x);
        if (dy != x || inputs[2] != channel || inputs[3] != channel)
            throw Mismatch(Name, "dy and x of one type, mean and invstd per channel", inputs);
        return Affine ? [x, channel, channel] : [x];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, statistics) = (inputs[1], inputs[2].DType);
        var axes = (Ints)Enumerable.Range(0, x.Rank).Where(a => a != 1).ToArray();
        Shape column = [1, x.Shape[1], .. Enumerable.Repeat(1, x.Rank - 2)];
        Shape flat = [x.Shape[1]];
        // Mean and invstd are inputs here: in a second derivative their gradients flow on to the outputs of the forward op,
        // which knows how they depend on x.
        var xhat = (F.Cast(x, statistics) - F.Reshape(inputs[2], column)) * F.Reshape(inputs[3], column);
        var dz = F.Cast(inputs[0], statistics);
        var weight = Affine ? F.Reshape(F.Cast(inputs[4], statistics), column) : null;
        if (Activation is not null)
        {
            var z = Affine ? xhat * weight! + F.Reshape(F.Cast(inputs[5], statistics), column) : xhat;
            dz = new ActivationBackwardOp(Activation).Apply(dz, z).Outputs[0];
        }

        var (sum, sumXhat) = (F.Sum(dz, axes), F.Sum(dz * xhat, axes));
        var dx = dz;
        if (Training)
        {
            var share = (double)x.Shape[1] / x.Type.Elements;
            dx = dz - sum * share - xhat * (sumXhat * share);
        }

        dx *= F.Reshape(inputs[3], column);
        if (Affine) dx *= weight!;
        dx = F.Cast(dx, x.DType);
        return Affine ? [dx, F.Reshape(sumXhat, flat), F.Reshape(sum, flat)] : [dx];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 12 * node.Inputs[0].Type.Elements);
}

/// <summary>What batch_norm returns; the statistics are those that were used, the running ones are the updated ones.</summary>
public sealed record BatchNormResult(Tensor Output, Tensor Mean, Tensor InvStd, Tensor? RunningMean, Tensor? RunningVar);

public static partial class F
{
    /// <summary>Batch normalisation of input [N, C, ...]; see <see cref="BatchNormOp"/>.</summary>
    /// <exception cref="ShapeException">The shapes do not fit, or training sees one value per channel.</exception>
    public static BatchNormResult BatchNorm(
        Tensor input, Tensor? runningMean, Tensor? runningVar, Tensor? weight = null, Tensor? bias = null,
        bool training = false, double momentum = 0.1, double eps = 1e-5, Activation? activation = null, bool unbiased = true)
    {
        if ((runningMean is null) != (runningVar is null)) throw new ShapeException("batch_norm: give both running_mean and running_var, or neither.");
        var channels = input.Rank > 1 ? input.Shape[1] : 0;
        if (weight is null && bias is not null) weight = Ones([channels], bias.DType);
        if (bias is null && weight is not null) bias = Zeros([channels], weight.DType);
        var running = runningMean is not null;
        var op = new BatchNormOp(training, momentum, eps, weight is not null, running, activation, unbiased);
        Tensor[] inputs = [input, .. weight is null ? [] : new[] { weight, bias! }, .. running ? new[] { runningMean!, runningVar! } : []];
        var y = op.Apply(inputs).Outputs;
        return new BatchNormResult(y[0], y[1], y[2], running ? y[3] : null, running ? y[4] : null);
    }
}
