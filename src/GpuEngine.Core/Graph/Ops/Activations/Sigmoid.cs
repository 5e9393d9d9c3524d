namespace GpuEngine.Core.Graph;

/// <summary>1 / (1 + exp(-x)), the logistic function; its derivative sigmoid(x) sigmoid(-x) is at most 1/4.</summary>
public sealed record Sigmoid : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Sigmoid(), "1 / (1 + exp(-x))");

    public override string Name => "sigmoid";

    public override Tensor Define(Tensor x) => F.Unary(UnaryKind.Sigmoid, x);

    // 1 - sigmoid(x) as sigmoid(-x): the difference would lose what is left of it for large x.
    public override Tensor Derivative(Tensor x) => F.Unary(UnaryKind.Sigmoid, x) * F.Unary(UnaryKind.Sigmoid, -x);
}

public static partial class F
{
    public static Tensor Sigmoid(Tensor input) => new Sigmoid().On(input);
}
