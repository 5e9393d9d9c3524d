namespace GpuEngine.Cuda.Runtime;

/// <summary>Everything about a launch except its arguments.</summary>
/// <param name="Grid">Blocks.</param>
/// <param name="Block">Threads per block.</param>
/// <param name="SharedBytes">Dynamic shared memory per block.</param>
public readonly record struct LaunchShape(Dim3 Grid, Dim3 Block, uint SharedBytes = 0)
{
    /// <summary>Blocks per cluster; the default value means no clusters.</summary>
    public Dim3 Cluster { get; init; }

    /// <summary>Whether all blocks must be resident at once, so that the grid can synchronise.</summary>
    public bool Cooperative { get; init; }

    /// <summary>Whether the launch has a cluster extent.</summary>
    public bool HasCluster => Cluster.X != 0;

    /// <inheritdoc/>
    public override string ToString() =>
        $"grid {Grid}, block {Block}, {SharedBytes} bytes of dynamic shared memory" +
        (HasCluster ? $", cluster {Cluster}" : "") + (Cooperative ? ", cooperative" : "");
}
