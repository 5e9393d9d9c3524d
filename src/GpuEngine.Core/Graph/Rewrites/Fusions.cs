namespace GpuEngine.Core.Graph;

/// <summary>The rewrites of a forward graph that save launches and bytes, one after the other, before autodiff.</summary>
public static class Fusions
{
    /// <summary>The map from each of <paramref name="outputs"/> to its replacement.</summary>
    /// <param name="outputs">What the graph is for.</param>
    /// <param name="channelsLast">Whether images lie with their channels last between convolutions.</param>
    public static IReadOnlyDictionary<Tensor, Tensor> Apply(IReadOnlyList<Tensor> outputs, bool channelsLast = false)
    {
        var activated = FuseActivations.Apply(outputs);
        IReadOnlyList<Tensor> laidOut = [.. outputs.Select(t => activated[t])];
        if (channelsLast) laidOut = ChannelsLastLayout.Apply(laidOut);
        var biased = FuseBiasActivations.Apply(laidOut);
        return outputs.Zip(laidOut).DistinctBy(p => p.First).ToDictionary(p => p.First, p => biased[p.Second]);
    }
}
