namespace GpuEngine.Core.Graph;

/// <summary>
/// y = x W^T + b for x [..., in], W [out, in], b [out] (optional): torch's linear. With a residual r of y's type and an activation,
/// each optional: activation(x W^T + b + r). The activation's slope must follow from y, which is all that the backward pass reads.
/// </summary>
/// <remarks>Inputs, in order: x, W, b, r.</remarks>
public sealed record LinearOp(bool Bias, Activation? Activation = null, bool Residual = false) : FusedOp
{
    internal static readonly OpSpec Spec = new("linear", "y = x W^T + b")
    {
        Arguments = [new("input"), new("weight"), new("bias", Optional: true)],
        Build = call => call.Output(F.Linear(call["input"], call["weight"], call.Optional("bias"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(5, 7), ["weight"] = Sample.Normal(3, 7), ["bias"] = Sample.Normal(3) },
            new() { ["input"] = Sample.Normal(2, 3, 16), ["weight"] = Sample.Normal(33, 16) },
            new() { ["input"] = Sample.Normal(1), ["weight"] = Sample.Normal(4, 1), ["bias"] = Sample.Normal(4) },
        ],
    };

    public override string Name => "linear";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        if (x.DType != w.DType || !x.DType.IsFloat() || x.Shape.Rank < 1 || w.Shape.Rank != 2 || x.Shape[^1] != w.Shape[1])
            throw Mismatch(Name, "input [..., in] and weight [out, in]", inputs);
        if (Bias && (inputs[2].DType != x.DType || inputs[2].Shape != new Shape(w.Shape[0])))
            throw Mismatch(Name, $"a bias of shape [{w.Shape[0]}]", inputs);
        if (Activation is { SlopeFromOutput: false }) throw new ArgumentException($"linear: {Activation.Name} needs its input in the backward pass and cannot be fused.");
        var y = x with { Shape = x.Shape.With(x.Shape.Rank - 1, w.Shape[0]) };
        if (Residual && inputs[^1] != y) throw Mismatch(Name, $"a residual {y}", inputs);
        return [y];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        if (Activation is not null || Residual)
        {
            var product = new LinearOp(Bias).Apply([.. inputs.Take(Bias ? 3 : 2)]).Outputs[0];
            if (Residual) product += inputs[^1];
            return [Activation?.On(product) ?? product];
        }

        var y = F.MatMul(Rows(inputs[0]), inputs[1], transposeB: true);
        if (Bias) y += inputs[2];
        return [F.Reshape(y, inputs[0].Shape.With(inputs[0].Rank - 1, inputs[1].Shape[0]))];
    }

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients)
    {
        if (outputGradients[0] is not { } g) return new Tensor?[node.Inputs.Count];
        var (x, w) = (node.Inputs[0], node.Inputs[1]);
        Tensor? db = null;
        if (Activation is not null)
        {
            var backward = new BiasActBackwardOp(Activation, null, g.Rank - 1, Bias, FromOutput: true).Apply(g, node.Outputs[0]).Outputs;
            g = backward[0];
            if (Bias) db = backward[1];
        }

        var rows = Rows(g);
        List<Tensor?> gradients = [F.Reshape(F.MatMul(rows, w), x.Shape)];
        if (Bias && db is null) gradients.AddRange(new LinearParametersBackwardOp().Apply(rows, Rows(x)).Outputs);
        else gradients.Add(F.MatMul(rows, Rows(x), transposeA: true));
        if (db is not null) gradients.Add(db);
        if (Residual) gradients.Add(g);
        return [.. gradients];
    }

    public override Cost Cost(Node node) =>
        Graph.Cost.Streaming(node, 2 * node.Outputs[0].Type.Elements * node.Inputs[1].Shape[1]);

    private static Tensor Rows(Tensor x) => F.Reshape(x, [(int)x.Shape.Product(0, x.Rank - 1), x.Shape[^1]]);
}

/// <summary>
/// Inputs dy [m, out] and x [m, in], outputs dy^T x [out, in] and the sums of dy over its rows [out]: the gradients of a linear layer's
/// weight and bias, of which a matrix library makes the second beside the first.
/// </summary>
public sealed record LinearParametersBackwardOp : FusedOp
{
    public override string Name => "linear_parameters_backward";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var (dy, x) = (inputs[0], inputs[1]);
        if (dy.DType != x.DType || dy.Shape.Rank != 2 || x.Shape.Rank != 2 || dy.Shape[0] != x.Shape[0]) throw Mismatch(Name, "dy [m, out] and x [m, in]", inputs);
        return [dy with { Shape = [dy.Shape[1], x.Shape[1]] }, dy with { Shape = [dy.Shape[1]] }];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs) =>
        [F.MatMul(inputs[0], inputs[1], transposeA: true), F.Reshape(F.Sum(inputs[0], [0]), [inputs[0].Shape[1]])];

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, 2 * node.Outputs[0].Type.Elements * node.Inputs[0].Shape[0]);
}

public static partial class F
{
    /// <summary>y = x W^T + b for input [..., in], weight [out, in], bias [out].</summary>
    /// <exception cref="ShapeException">The shapes do not fit.</exception>
    public static Tensor Linear(Tensor input, Tensor weight, Tensor? bias = null) =>
        bias is null ? new LinearOp(false).Apply(input, weight).Outputs[0] : new LinearOp(true).Apply(input, weight, bias).Outputs[0];
}
