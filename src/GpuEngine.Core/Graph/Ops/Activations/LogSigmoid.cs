namespace GpuEngine.Core.Graph;

/// <summary>log(sigmoid(x)) = min(x, 0) - log1p(exp(-|x|)).</summary>
public sealed record LogSigmoid : Activation
{
    internal static readonly OpSpec Spec = OpSpec.Of(new LogSigmoid(), "log of the sigmoid");

    public override string Name => "logsigmoid";

    public override Tensor Define(Tensor x) => F.Minimum(x, F.Scalar(0, x.DType)) - F.Log1p(F.Exp(-F.Abs(x)));

    public override Tensor Derivative(Tensor x) => F.Unary(UnaryKind.Sigmoid, -x);
}

public static partial class F
{
    public static Tensor LogSigmoid(Tensor input) => new LogSigmoid().On(input);
}
