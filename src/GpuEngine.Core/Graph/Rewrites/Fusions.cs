namespace GpuEngine.Core.Graph;

/// <summary>The rewrites of a forward graph that save launches and bytes, one after the other, before autodiff.</summary>
public static class Fusions
{
    /// <summary>
    /// The map from tensors that <paramref name="outputs"/> depend on, the outputs included, to their replacements. Values inside
    /// a fusion have no entry.
    /// </summary>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs)
    {
        var first = FuseActivations.Apply(outputs);
        var second = FuseBiasActivations.Apply([.. outputs.Select(t => first[t])]);
        return first.Where(p => second.ContainsKey(p.Value)).ToDictionary(p => p.Key, p => second[p.Value]);
    }
}
