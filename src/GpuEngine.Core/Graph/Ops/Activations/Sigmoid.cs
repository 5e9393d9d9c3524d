namespace GpuEngine.Core.Graph;

/// <summary>1 / (1 + exp(-x)), the logistic function; its derivative y (1 - y) is at most 1/4.</summary>
public sealed record Sigmoid : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new Sigmoid(), "1 / (1 + exp(-x))");

    public override string Name => "sigmoid";

    public override Tensor Define(Tensor x) => F.Unary(UnaryKind.Sigmoid, x);

    public override Tensor Derivative(Tensor x)
    {
        var y = F.Unary(UnaryKind.Sigmoid, x);
        return y * (1 - y);
    }
}

public static partial class F
{
    public static Tensor Sigmoid(Tensor input) => new Sigmoid().On(input);
}
