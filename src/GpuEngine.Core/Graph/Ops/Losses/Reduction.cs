namespace GpuEngine.Core.Graph;

/// <summary>How a loss combines its elements.</summary>
public enum Reduction
{
    /// <summary>The sum over the number of elements (cross_entropy: over the sum of weights that count).</summary>
    Mean,
    Sum,

    /// <summary>Not at all: one value per element.</summary>
    None,
}

/// <summary>The attribute `reduction` of the losses.</summary>
internal static class Reductions
{
    public static readonly OpAttribute Attribute = new("reduction", "mean", "mean, sum or none");

    public static Reduction Read(OpCall call) =>
        call.Choice("reduction", ("mean", Reduction.Mean), ("sum", Reduction.Sum), ("none", Reduction.None));

    /// <summary>Mean and sum to a scalar; the mean of nothing is NaN, as in torch.</summary>
    public static Tensor Apply(Reduction reduction, Tensor x) => reduction switch
    {
        Reduction.Mean => F.Sum(x) * (1.0 / x.Type.Elements),
        Reduction.Sum => F.Sum(x),
        _ => x,
    };
}
