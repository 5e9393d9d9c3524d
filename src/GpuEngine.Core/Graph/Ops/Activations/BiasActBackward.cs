namespace GpuEngine.Core.Graph;

/// <summary>
/// The gradients of <see cref="BiasActOp"/> for x and, with <paramref name="Bias"/>, for the bias: dx = m dy f'(x + bias), m being
/// 1 / (1 - p) where dropout kept the element and 0 elsewhere, and dbias = the sum of dx over all axes but <paramref name="Dim"/>.
/// The gradient of a residual is dy itself. With <paramref name="Adds"/> the first output is dx + r, r being what came to x on another
/// path; dbias stays without it.
/// </summary>
/// <remarks>
/// Inputs, in order: dy; with an activation x, or y with <paramref name="FromOutput"/>; the bias where x is read and there is one; r;
/// the generator's state i64[2] where the mask is drawn. Behind relu it is not: what was dropped is 0 in y, as what was negative.
/// </remarks>
public sealed record BiasActBackwardOp(Activation? Activation, DropoutOp? Dropout, int Dim, bool Bias, bool FromOutput, bool Adds = false) : FusedOp
{
    public override string Name => "bias_act_backward";

    /// <summary>Whether the bias is read, to compute the activation's input again.</summary>
    public bool AddsBias => Bias && Activation is not null && !FromOutput;

    /// <summary>Whether the mask is drawn.</summary>
    public bool DrawsMask => Dropout is not null && !(FromOutput && Activation is Relu);

    /// <summary>Where r stands among the inputs.</summary>
    public int AddedInput => 1 + (Activation is null ? 0 : 1) + (AddsBias ? 1 : 0);

    /// <summary>What elements are multiplied by that were not dropped.</summary>
    public double Scale => Dropout?.Scale ?? 1;

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var dy = inputs[0];
        var count = AddedInput + (Adds ? 1 : 0) + (DrawsMask ? 1 : 0);
        if (inputs.Count != count || (Activation is not null && inputs[1] != dy)) throw Mismatch(Name, $"{count} inputs, dy and x of one type", inputs);
        if (Adds && inputs[AddedInput] != dy) throw Mismatch(Name, "a term of dy's type", inputs);
        if (Bias && Dim >= dy.Shape.Rank) throw Mismatch(Name, $"a tensor with an axis {Dim}", inputs);
        return Bias ? [dy, dy with { Shape = [dy.Shape[Dim]] }] : [dy];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var dx = inputs[0];
        if (DrawsMask) dx = Dropout!.Apply(dx, inputs[^1]).Outputs[0];
        else if (Dropout is not null) dx *= Scale;
        if (Activation is not null)
        {
            var value = AddsBias ? inputs[1] + BiasActOp.Column(inputs[2], dx, Dim) : inputs[1];
            dx = new ActivationBackwardOp(Activation).Apply(dx, value).Outputs[0];
        }

        var first = Adds ? dx + inputs[AddedInput] : dx;
        return Bias ? [first, F.Reshape(F.Sum(dx, BiasActOp.Others(dx.Rank, Dim)), [dx.Shape[Dim]])] : [first];
    }

    public override int InPlaceInput(int output) => output == 0 ? 0 : -1;

    public override Cost Cost(Node node) => Graph.Cost.Streaming(node, (2 + (Bias ? 1 : 0)) * node.Inputs[0].Type.Elements);
}
