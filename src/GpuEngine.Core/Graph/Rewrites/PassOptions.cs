namespace GpuEngine.Core.Graph;

/// <summary>
/// Which rewrites a training or an evaluation step goes through. All of them leave results as they are, within the roundings of the dtype;
/// those that cost no time are on.
/// </summary>
public sealed record PassOptions
{
    /// <summary>All passes that cost no time.</summary>
    public static PassOptions Default { get; } = new();

    /// <summary>Names that <see cref="Parse"/> takes.</summary>
    public static IReadOnlyList<string> Names { get; } =
        ["fold-batch-norm", "fuse-activations", "fuse-bias", "fuse-cross-entropy", "channels-last"];

    /// <summary><see cref="Graph.FoldBatchNorms"/>, in evaluation.</summary>
    public bool FoldBatchNorms { get; init; } = true;

    /// <summary><see cref="Graph.FuseActivations"/>.</summary>
    public bool FuseActivations { get; init; } = true;

    /// <summary><see cref="FuseBiasActivations"/>.</summary>
    public bool FuseBias { get; init; } = true;

    /// <summary><see cref="Graph.FuseCrossEntropy"/>.</summary>
    public bool FuseCrossEntropy { get; init; } = true;

    /// <summary><see cref="ChannelsLastLayout"/>, on devices that prefer it.</summary>
    public bool ChannelsLast { get; init; } = true;

    /// <summary><see cref="RecomputeActivations"/>: less memory for a few more bytes moved.</summary>
    public bool Recompute { get; init; }

    /// <summary><see cref="CheckpointSegments"/>: the number of segments, or 0 for the best one; null keeps all.</summary>
    public int? Checkpoint { get; init; }

    /// <summary>Reads "-name,-name": passes that are to be left out.</summary>
    /// <exception cref="UserException">A name is unknown, or has no minus in front of it.</exception>
    public static PassOptions Parse(string? text)
    {
        var options = Default;
        foreach (var part in (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (!part.StartsWith('-')) throw new UserException($"--passes takes names with a minus in front, such as -{Names[0]}, to leave passes out, but '{part}' was given.");
            options = part[1..] switch
            {
                "fold-batch-norm" => options with { FoldBatchNorms = false },
                "fuse-activations" => options with { FuseActivations = false },
                "fuse-bias" => options with { FuseBias = false },
                "fuse-cross-entropy" => options with { FuseCrossEntropy = false },
                "channels-last" => options with { ChannelsLast = false },
                var other => throw new UserException(NearestName.Sentence("pass", other, Names)),
            };
        }

        return options;
    }
}
