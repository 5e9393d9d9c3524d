namespace GpuEngine.Core.Graph;

/// <summary>
/// Local response normalisation across channels (Krizhevsky, Sutskever and Hinton 2012, section 3.3) of [N, C, L, ...]:
/// y = x / (K + Alpha / Size * sum of x^2 over Size neighbouring channels)^Beta. As in torch, channel c sees c - Size/2 to
/// c + (Size-1)/2, and channels beyond the edge count as zeros.
/// </summary>
public sealed record LocalResponseNormOp(int Size, double Alpha, double Beta, double K) : FusedOp
{
    internal static readonly OpSpec Spec = new("local_response_norm", "divides by a power of the energy in neighbouring channels")
    {
        Attributes =
        [
            new("size", null, "channels in a neighbourhood"), new("alpha", 1e-4, "weight of the energy"),
            new("beta", 0.75, "exponent"), new("k", 1.0, "added to the energy"),
        ],
        Build = call => call.Output(
            F.LocalResponseNorm(call["input"], call.Integer("size"), call.Number("alpha"), call.Number("beta"), call.Number("k"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 5, 3), Attributes = { ["size"] = 3, ["alpha"] = 0.5 } },
            new() { ["input"] = Sample.Normal(2, 3, 2, 4), Attributes = { ["size"] = 4, ["alpha"] = 2, ["beta"] = 0.5, ["k"] = 0.7 } },
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
        var (low, high) = (new int[x.Rank], new int[x.Rank]);
        (low[1], high[1]) = (Size / 2, (Size - 1) / 2);
        var squares = F.Pad(x * x, low, high);
        var energy = F.Narrow(squares, 1, 0, x.Shape[1]);
        for (var i = 1; i < Size; i++) energy += F.Narrow(squares, 1, i, x.Shape[1]);
        var divisor = F.Pow(energy * (Alpha / Size) + K, F.Scalar(Beta, x.DType));
        return [F.Cast(x / divisor, inputs[0].DType)];
    }

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, (Size + 4) * node.Inputs[0].Type.Elements);
}

public static partial class F
{
    /// <summary>Local response normalisation of input [N, C, L, ...]; see <see cref="LocalResponseNormOp"/>.</summary>
    /// <exception cref="ShapeException">The input has fewer than three axes, or size is less than 1.</exception>
    public static Tensor LocalResponseNorm(Tensor input, int size, double alpha = 1e-4, double beta = 0.75, double k = 1) =>
        new LocalResponseNormOp(size, alpha, beta, k).Apply(input).Outputs[0];
}
