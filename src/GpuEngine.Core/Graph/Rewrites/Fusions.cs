namespace GpuEngine.Core.Graph;

/// <summary>The rewrites of a forward graph that save launches and bytes, one after the other, before autodiff.</summary>
public static class Fusions
{
    /// <summary>The map from each of <paramref name="outputs"/> to its replacement.</summary>
    /// <param name="outputs">What the graph is for.</param>
    /// <param name="channelsLast">Whether images lie with their channels last between convolutions.</param>
    /// <param name="passes">What is left out; null leaves nothing out.</param>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs, bool channelsLast = false, PassOptions? passes = null)
    {
        passes ??= PassOptions.Default;
        var rewritten = outputs;
        if (passes.FuseActivations) rewritten = Each(FuseActivations.Apply(rewritten), rewritten);
        if (channelsLast && passes.ChannelsLast) rewritten = ChannelsLastLayout.Apply(rewritten);
        if (passes.FuseBias) rewritten = Each(FuseBiasActivations.Apply(rewritten), rewritten);
        return outputs.Zip(rewritten).DistinctBy(p => p.First).ToDictionary(p => p.First, p => p.Second);

        static IReadOnlyList<Tensor> Each(IReadOnlyDictionary<Tensor, Tensor> map, IReadOnlyList<Tensor> tensors) => [.. tensors.Select(t => map[t])];
    }
}
