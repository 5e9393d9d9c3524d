namespace GpuEngine.Core.Graph;

/// <summary>
/// Root-mean-square normalisation (Zhang and Sennrich 2019) over the trailing axes: y = x / sqrt(mean(x^2) + eps) weight.
/// Outputs: y and 1/sqrt(mean(x^2) + eps) of each row.
/// </summary>
public sealed record RmsNormOp(Shape NormalizedShape, double Eps, bool Affine, Activation? Activation = null) : RowNormOp(Eps, Affine, Activation)
{
    internal static readonly OpSpec Spec = new("rms_norm", "divides the trailing axes of each sample by their root mean square")
    {
        Arguments = [new("input"), new("weight", Optional: true)],
        Attributes =
        [
            new("normalized_shape", null, "extents of the trailing axes that are normalised"),
            new("eps", null, "added to the mean square inside the root; the machine epsilon of the input's dtype when not given"),
        ],
        Build = call => call.Output(F.RmsNorm(
            call["input"], new Shape(call.Integers("normalized_shape").AsSpan()), call.Optional("weight"), call.Has("eps") ? call.Number("eps") : null)),
        Samples =
        [
            new() { ["input"] = Sample.Normal(2, 5), Attributes = { ["normalized_shape"] = new[] { 5 } } },
            new() { ["input"] = Sample.Normal(3, 4, 35), ["weight"] = Sample.Normal(35), Attributes = { ["normalized_shape"] = new[] { 35 }, ["eps"] = 1e-5 } },
            new() { ["input"] = Sample.Normal(4, 3, 5), ["weight"] = Sample.Normal(3, 5), Attributes = { ["normalized_shape"] = new[] { 3, 5 }, ["eps"] = 0.01 } },
        ],
    };

    public override string Name => "rms_norm";

    public override bool Centred => false;

    public override RowLayout Layout(Shape x) => LayerNormOp.Trailing(Name, x, NormalizedShape);

    public override Shape ParameterShape(Shape x) => NormalizedShape;
}

public static partial class F
{
    /// <summary>
    /// Root-mean-square normalisation over the trailing axes; see <see cref="RmsNormOp"/>. Without <paramref name="eps"/> the
    /// machine epsilon of the input's dtype is taken (2^-23 in f32, 2^-52 in f64, 2^-7 in bf16), as torch does.
    /// </summary>
    /// <exception cref="ShapeException">normalized_shape is not the input's trailing shape, or the weight does not fit.</exception>
    /// <exception cref="UserException">eps is negative.</exception>
    public static Tensor RmsNorm(Tensor input, Shape normalizedShape, Tensor? weight = null, double? eps = null, Activation? activation = null)
    {
        var used = eps ?? Math.ScaleB(1, input.DType switch
        {
            DType.F64 => -52,
            DType.BF16 => -7,
            _ => -23,
        });
        NormArguments.CheckEps("rms_norm", used);
        Tensor[] inputs = weight is null ? [input] : [input, weight];
        return new RmsNormOp(normalizedShape, used, weight is not null, activation).Apply(inputs).Outputs[0];
    }
}
