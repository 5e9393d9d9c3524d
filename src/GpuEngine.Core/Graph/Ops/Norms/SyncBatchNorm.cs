namespace GpuEngine.Core.Graph;

/// <summary>The statistics of a batch that is spread over devices.</summary>
/// <param name="Mean">The mean of each channel, [C].</param>
/// <param name="InvStd">1/sqrt(var + eps) with the biased variance, [C].</param>
/// <param name="Count">Values per channel on all devices, [C].</param>
/// <param name="RunningMean">The updated running mean, if one was given.</param>
/// <param name="RunningVar">The updated running variance, if one was given.</param>
public sealed record SyncStatistics(Tensor Mean, Tensor InvStd, Tensor Count, Tensor? RunningMean, Tensor? RunningVar);

/// <summary>
/// Merges the statistics of the shares of a batch in the order of ranks: torch's batch_norm_gather_stats_with_counts, but from sums of
/// squared deviations, which lose nothing (Chan, Golub and LeVeque 1979). Inputs: rows [R, 3, C] of (count, mean, m2), then running_mean
/// [C] and running_var [C] if <paramref name="Running"/>. Outputs: mean, 1/sqrt(m2/count + eps) and count, all [C], and the updated running
/// statistics. Shares may be uneven or empty: with count 0 the other values of a row are not looked at; where all are empty the running
/// statistics stay.
/// </summary>
public sealed record SyncBatchNormStatsOp(double Momentum, double Eps, bool Running, bool UnbiasedRunning = true) : FusedOp
{
    internal static readonly OpSpec Spec = new("sync_batch_norm_stats", "statistics of a batch from those of its shares (count, mean, m2)")
    {
        Arguments = [new("input", Differentiable: false), new("running_mean", Optional: true, Differentiable: false), new("running_var", Optional: true, Differentiable: false)],
        Attributes =
        [
            new("momentum", 0.1, "share of the batch statistics in the update of the running ones"),
            new("eps", 1e-5, "added to the variance inside the root"),
            new("unbiased", true, "running_var takes the unbiased variance (torch); false takes the biased one"),
        ],
        Differentiable = false,
        Build = call =>
        {
            var s = F.SyncBatchNormStats(
                call["input"], call.Optional("running_mean"), call.Optional("running_var"), call.Number("momentum"), call.Number("eps"), call.Flag("unbiased"));
            List<NamedTensor> outputs = [new("output", s.Mean), new("invstd", s.InvStd), new("count", s.Count)];
            if (s.RunningMean is { } mean) outputs.AddRange([new("running_mean", mean), new("running_var", s.RunningVar!)]);
            return outputs;
        },
        Samples =
        [
            new() { ["input"] = Sample.Uniform(1, 5, 1, 3, 7) },
            new() { ["input"] = Sample.Uniform(1, 5, 3, 3, 19), ["running_mean"] = Sample.Normal(19), ["running_var"] = Sample.Uniform(0.5, 2, 19) },
            new() { ["input"] = Sample.Uniform(1, 5, 11, 3, 200), ["running_mean"] = Sample.Normal(200), ["running_var"] = Sample.Uniform(0.5, 2, 200), Attributes = { ["momentum"] = 0.3, ["unbiased"] = false } },
        ],
    };

    public override string Name => "sync_batch_norm_stats";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var rows = inputs[0];
        var channel = new TensorType(rows.DType, rows.Shape.Rank == 3 ? [rows.Shape[2]] : Shape.Scalar);
        if (!rows.DType.IsFloat() || rows.Shape.Rank != 3 || rows.Shape[0] < 1 || rows.Shape[1] != 3 ||
            inputs.Count != (Running ? 3 : 1) || inputs.Skip(1).Any(t => t != channel))
            throw Mismatch(Name, $"rows [ranks, 3, C] of floats{(Running ? ", running_mean and running_var [C]" : "")}", inputs);
        return [.. Enumerable.Repeat(channel, Running ? 5 : 3)];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var rows = inputs[0];
        var (zero, one) = (F.Scalar(0, rows.DType), F.Scalar(1, rows.DType));
        var (count, mean, m2) = (F.Zeros([rows.Shape[2]], rows.DType), F.Zeros([rows.Shape[2]], rows.DType), F.Zeros([rows.Shape[2]], rows.DType));
        for (var rank = 0; rank < rows.Shape[0]; rank++)
        {
            var (own, ownMean, ownM2) = (Row(rows, rank, 0), Row(rows, rank, 1), Row(rows, rank, 2));
            var any = F.Gt(own, zero);
            var total = count + own;
            var share = own / F.Where(any, total, one);
            var delta = ownMean - mean;
            m2 = F.Where(any, m2 + ownM2 + delta * delta * count * share, m2);
            mean = F.Where(any, mean + delta * share, mean);
            count = F.Where(any, total, count);
        }

        var variance = m2 / F.Where(F.Gt(count, zero), count, one);
        var invstd = F.Rsqrt(variance + Eps);
        if (!Running) return [mean, invstd, count];
        var several = F.Gt(count, one);
        var newVar = UnbiasedRunning ? F.Where(several, m2 / F.Where(several, count - 1, one), zero) : variance;
        var found = F.Gt(count, zero);
        return
        [
            mean, invstd, count, F.Where(found, NormArguments.Blend(inputs[1], mean, Momentum), inputs[1]),
            F.Where(found, NormArguments.Blend(inputs[2], newVar, Momentum), inputs[2]),
        ];
    }

    /// <summary>The running statistics are updated where they lie.</summary>
    public override int InPlaceInput(int output) => output >= 3 ? output - 2 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 10 * node.Inputs[0].Type.Elements / 3);

    /// <summary>Row k of a rank, [C].</summary>
    internal static Tensor Row(Tensor rows, int rank, int k) =>
        F.Reshape(F.Slice(rows, [rank, k, 0], [1, 1, rows.Shape[2]], [1, 1, 1]), [rows.Shape[2]]);
}

/// <summary>
/// Adds what the backward pass of batch normalisation found in the shares of a batch, in the order of ranks: rows [R, 2, C] of (sum dy, sum
/// dy xhat) to sums [2, C].
/// </summary>
public sealed record SyncBatchNormSumsOp : FusedOp
{
    internal static readonly OpSpec Spec = new("sync_batch_norm_sums", "sums of a batch from those of its shares (sum dy, sum dy xhat)")
    {
        Arguments = [new("input", Differentiable: false)],
        Differentiable = false,
        Build = call => call.Output(F.SyncBatchNormSums(call["input"])),
        Samples = [new() { ["input"] = Sample.Normal(1, 2, 7) }, new() { ["input"] = Sample.Normal(11, 2, 200) }],
    };

    public override string Name => "sync_batch_norm_sums";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var rows = inputs[0];
        if (!rows.DType.IsFloat() || rows.Shape.Rank != 3 || rows.Shape[0] < 1 || rows.Shape[1] != 2)
            throw Mismatch(Name, "rows [ranks, 2, C] of floats", inputs);
        return [rows with { Shape = [2, rows.Shape[2]] }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var rows = inputs[0];
        Tensor Rank(int rank) => F.Reshape(F.Narrow(rows, 0, rank, 1), [2, rows.Shape[2]]);
        return [Enumerable.Range(1, rows.Shape[0] - 1).Aggregate(Rank(0), (sum, rank) => sum + Rank(rank))];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <summary>Merges (count, mean, m2) of the shares of a batch, [R, 3, C]; see <see cref="SyncBatchNormStatsOp"/>.</summary>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static SyncStatistics SyncBatchNormStats(
        Tensor rows, Tensor? runningMean = null, Tensor? runningVar = null, double momentum = 0.1, double eps = 1e-5, bool unbiased = true)
    {
        if (runningMean is null != runningVar is null)
            throw new ShapeException("sync_batch_norm_stats: running_mean and running_var are given together or not at all.");
        var op = new SyncBatchNormStatsOp(momentum, eps, runningMean is not null, unbiased);
        var y = op.Apply(runningMean is null ? [rows] : [rows, runningMean, runningVar!]).Outputs;
        return new SyncStatistics(y[0], y[1], y[2], op.Running ? y[3] : null, op.Running ? y[4] : null);
    }

    /// <summary>Adds (sum dy, sum dy xhat) of the shares of a batch, [R, 2, C] to [2, C]; see <see cref="SyncBatchNormSumsOp"/>.</summary>
    /// <exception cref="ShapeException">The shape does not fit.</exception>
    public static Tensor SyncBatchNormSums(Tensor rows) => new SyncBatchNormSumsOp().Apply(rows).Outputs[0];
}
