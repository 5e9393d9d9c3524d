namespace GpuEngine.Core.Graph;

/// <summary>
/// The second half of <see cref="BatchNormOp"/>: y = activation((x - mean) invstd weight + bias + residual) with statistics that are given.
/// It makes the output of a batch_norm again from what the backward pass keeps anyway, bit for bit where both are one kernel's work, and
/// touches no running statistics.
/// Inputs: x [N, C, ...] or [N, ..., C], then weight [C] and bias [C] if Affine, then mean [C] and invstd [C], then residual (x's type) if
/// Residual. Outputs: y, and with <paramref name="Mask"/> the sign bits (<see cref="SignMask"/>) of a relu above a residual.
/// Made by rewrites of a training step after autodiff, so nobody differentiates it but by its decomposition.
/// </summary>
public sealed record BatchNormApplyOp(bool Affine, Activation? Activation, bool Residual, bool ChannelsLast, bool Mask) : FusedOp
{
    /// <summary>What makes the outputs of a training batch_norm again.</summary>
    public BatchNormApplyOp(BatchNormOp of) : this(of.Affine, of.Activation, of.Residual, of.ChannelsLast, of.HasMask)
    {
    }

    public override string Name => "batch_norm_apply";

    /// <summary>Where the mean stands among the inputs; 1 / sqrt(var + eps) follows.</summary>
    public int FirstStatistic => Affine ? 3 : 1;

    /// <summary>The op of one more step with the same inputs, the running statistics in the place of those that are given.</summary>
    internal BatchNormOp Evaluation => new(false, 0, 0, Affine, true, Activation, true, Residual, ChannelsLast);

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var x = inputs[0];
        if (inputs.Count != FirstStatistic + 2 + (Residual ? 1 : 0)) throw Mismatch(Name, $"{FirstStatistic + 2 + (Residual ? 1 : 0)} inputs", inputs);
        var channel = BatchNormOp.StatisticsType(x, ChannelsLast);
        if (inputs[FirstStatistic] != channel || inputs[FirstStatistic + 1] != channel) throw Mismatch(Name, $"mean and invstd {channel}", inputs);
        if (Residual && inputs[^1] != x) throw Mismatch(Name, "a residual of x's type", inputs);
        if (Mask && !(Residual && Activation is Relu)) throw new ArgumentException("batch_norm_apply: sign bits are of a relu above a residual.");
        return Mask ? [x, SignMask.TypeOf(x.Shape, ChannelsLast)] : [x];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var (x, statistics) = (inputs[0], inputs[FirstStatistic].DType);
        var (_, column, _) = BatchNormOp.Layout(x.Shape, ChannelsLast);
        Tensor Channel(int input) => F.Reshape(F.Cast(inputs[input], statistics), column);
        var z = (F.Cast(x, statistics) - Channel(FirstStatistic)) * Channel(FirstStatistic + 1);
        if (Affine) z = z * Channel(1) + Channel(2);
        if (Activation is null && !Residual) return [F.Cast(z, x.DType)];
        // As batch_norm's decomposition does: what is added or activated has been rounded to x's dtype.
        z = F.Cast(F.Cast(z, x.DType), statistics);
        if (Residual) z += F.Cast(inputs[^1], statistics);
        var y = F.Cast(Activation is null ? z : Activation.On(z), x.DType);
        return Mask ? [y, SignMask.Pack(z, ChannelsLast)] : [y];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 4 * node.Inputs[0].Type.Elements);
}
