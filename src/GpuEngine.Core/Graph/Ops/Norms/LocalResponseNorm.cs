namespace GpuEngine.Core.Graph;

/// <summary>
/// Local response normalisation across channels (Krizhevsky, Sutskever and Hinton 2012, section 3.3) of [N, C, L, ...]:
/// y = x / (K + Alpha / Size * sum of x^2 over Size neighbouring channels)^Beta. As in torch, channel c sees c - Size/2 to
/// c + (Size-1)/2, and channels beyond the edge count as zeros. With ChannelsLast the input is [N, L, ..., C].
/// </summary>
public sealed record LocalResponseNormOp(int Size, double Alpha, double Beta, double K, bool ChannelsLast = false) : FusedOp
{
    internal static readonly OpSpec Spec = new("local_response_norm", "divides by a power of the energy in neighbouring channels")
    {
        Attributes =
        [
            new("size", null, "channels in a neighbourhood"), new("alpha", 1e-4, "weight of the energy"),
            new("beta", 0.75, "exponent"), new("k", 1.0, "added to the energy"),
            new("channels_last", false, "the channels are the last axis"),
        ],
        Build = call => call.Output(F.LocalResponseNorm(
            call["input"], call.Integer("size"), call.Number("alpha"), call.Number("beta"), call.Number("k"), call.Flag("channels_last"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 5, 3), Attributes = { ["size"] = 3, ["alpha"] = 0.5 } },
            new() { ["input"] = Sample.Normal(2, 3, 2, 4), Attributes = { ["size"] = 4, ["alpha"] = 2, ["beta"] = 0.5, ["k"] = 0.7 } },
            new() { ["input"] = Sample.Normal(2, 3, 7), Attributes = { ["size"] = 5, ["alpha"] = 0.5, ["k"] = 2, ["channels_last"] = true } },
        ],
    };

    public override string Name => "local_response_norm";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        if (!inputs[0].DType.IsFloat() || inputs[0].Shape.Rank < 3) throw Mismatch(Name, "a float tensor [N, C, L, ...]", inputs);
        if (Size < 1) throw new ShapeException($"local_response_norm: size must be at least 1, but is {Size}.");
        return [inputs[0]];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var x = F.Cast(inputs[0], NormArguments.StatisticsOf(inputs[0].DType));
        return [F.Cast(x / F.Pow(Denominator(x), F.Scalar(Beta, x.DType)), inputs[0].DType)];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        [outputGradients[0] is { } g ? new LocalResponseNormBackwardOp(this).Apply(g, node.Inputs[0]).Outputs[0] : null];

    /// <summary>K + Alpha / Size times the energy.</summary>
    internal Tensor Denominator(Tensor x) => Neighbours(x * x, Size / 2) * (Alpha / Size) + K;

    /// <summary>Sums over Size neighbouring channels, so many of them before the channel itself.</summary>
    internal Tensor Neighbours(Tensor x, int before)
    {
        var axis = ChannelsLast ? x.Rank - 1 : 1;
        var (low, high) = (new int[x.Rank], new int[x.Rank]);
        (low[axis], high[axis]) = (before, Size - 1 - before);
        var padded = F.Pad(x, low, high);
        var sum = F.Narrow(padded, axis, 0, x.Shape[axis]);
        for (var i = 1; i < Size; i++) sum += F.Narrow(padded, axis, i, x.Shape[axis]);
        return sum;
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, (Size + 4) * node.Inputs[0].Type.Elements);
}

/// <summary>
/// The gradient of <see cref="LocalResponseNormOp"/>: inputs (dy, x), d = K + Alpha / Size * energy,
/// dx = dy / d^Beta - 2 Beta Alpha / Size * x * (sum of dy x / d^(Beta + 1) over the channels that see this one).
/// </summary>
public sealed record LocalResponseNormBackwardOp(LocalResponseNormOp Of) : FusedOp
{
    public override string Name => "local_response_norm_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0] == inputs[1] ? [Of.Infer([inputs[1]])[0]] : throw Mismatch(Name, "a gradient and an input of one type", inputs);

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var statistics = NormArguments.StatisticsOf(inputs[0].DType);
        var (dy, x) = (F.Cast(inputs[0], statistics), F.Cast(inputs[1], statistics));
        var d = Of.Denominator(x);
        var direct = dy / F.Pow(d, F.Scalar(Of.Beta, x.DType));
        // Channel j sees c where c lies from j - Size / 2 to j + (Size - 1) / 2: the window is turned around.
        var sum = Of.Neighbours(direct * x / d, (Of.Size - 1) / 2);
        return [F.Cast(direct - x * sum * (2 * Of.Beta * Of.Alpha / Of.Size), inputs[0].DType)];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, (3 * Of.Size + 10) * node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <summary>Local response normalisation of input [N, C, L, ...]; see <see cref="LocalResponseNormOp"/>.</summary>
    /// <exception cref="ShapeException">The input has fewer than three axes, or size is less than 1.</exception>
    public static Tensor LocalResponseNorm(
        Tensor input, int size, double alpha = 1e-4, double beta = 0.75, double k = 1, bool channelsLast = false) =>
        new LocalResponseNormOp(size, alpha, beta, k, channelsLast).Apply(input).Outputs[0];
}
