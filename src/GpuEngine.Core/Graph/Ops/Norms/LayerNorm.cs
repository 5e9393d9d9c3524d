namespace GpuEngine.Core.Graph;

/// <summary>
/// Layer normalisation (Ba, Kiros and Hinton 2016) over the trailing axes, whose extents are NormalizedShape. Weight and bias
/// have that shape.
/// </summary>
public sealed record LayerNormOp(Shape NormalizedShape, double Eps, bool Affine, Activation? Activation = null) : RowNormOp(Eps, Affine, Activation)
{
    internal static readonly OpSpec Spec = new("layer_norm", "normalises the trailing axes of each sample")
    {
        Arguments = [new("input"), new("weight", Optional: true), new("bias", Optional: true)],
        Attributes = [new("normalized_shape", null, "extents of the trailing axes that are normalised"), new("eps", 1e-5, "added to the variance inside the root")],
        Build = call => call.Output(F.LayerNorm(
            call["input"], new Shape(call.Integers("normalized_shape").AsSpan()), call.Optional("weight"), call.Optional("bias"), call.Number("eps"))),
        Samples =
        [
            new() { ["input"] = Sample.Normal(5), Attributes = { ["normalized_shape"] = 5 } },
            new() { ["input"] = Sample.Normal(3, 4, 35), ["weight"] = Sample.Normal(35), ["bias"] = Sample.Normal(35), Attributes = { ["normalized_shape"] = new[] { 35 } } },
            new() { ["input"] = Sample.Normal(4, 2, 3, 5), ["weight"] = Sample.Normal(3, 5), ["bias"] = Sample.Normal(3, 5), Attributes = { ["normalized_shape"] = new[] { 3, 5 }, ["eps"] = 0.01 } },
            new() { ["input"] = Sample.Normal(2, 3, 4), ["bias"] = Sample.Normal(2, 3, 4), Attributes = { ["normalized_shape"] = new[] { 2, 3, 4 } } },
        ],
    };

    public override string Name => "layer_norm";

    public override RowLayout Layout(Shape x) => Trailing(Name, x, NormalizedShape);

    public override Shape ParameterShape(Shape x) => NormalizedShape;

    /// <summary>Rows over the trailing axes.</summary>
    internal static RowLayout Trailing(string op, Shape x, Shape normalized)
    {
        if (normalized.Rank == 0) throw new ShapeException($"{op}: normalized_shape must name at least one axis.");
        var lead = x.Rank - normalized.Rank;
        if (lead < 0 || !x.AsSpan()[lead..].SequenceEqual(normalized.AsSpan()))
            throw new ShapeException($"{op}: normalized_shape {normalized} must equal the trailing extents of the input, whose shape is {x}.");
        return new RowLayout(x.Product(0, lead), 1, (int)normalized.Elements, 1);
    }
}

public static partial class F
{
    /// <summary>Layer normalisation over the trailing axes; see <see cref="LayerNormOp"/>.</summary>
    /// <exception cref="ShapeException">normalized_shape is not the input's trailing shape, or parameters do not fit.</exception>
    /// <exception cref="UserException">eps is negative.</exception>
    public static Tensor LayerNorm(
        Tensor input, Shape normalizedShape, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5, Activation? activation = null)
    {
        NormArguments.CheckEps("layer_norm", eps);
        (weight, bias) = NormArguments.Pair(weight, bias);
        Tensor[] inputs = weight is null ? [input] : [input, weight, bias!];
        return new LayerNormOp(normalizedShape, eps, weight is not null, activation).Apply(inputs).Outputs[0];
    }
}
