namespace GpuEngine.Cuda.Runtime;

/// <summary>Extent in three dimensions, of a grid in blocks or of a block in threads.</summary>
public readonly record struct Dim3(uint X, uint Y = 1, uint Z = 1)
{
    /// <summary>A one-dimensional extent.</summary>
    public static implicit operator Dim3(int x) => new(checked((uint)x));

    /// <summary>Number of blocks or threads.</summary>
    public ulong Count => (ulong)X * Y * Z;

    /// <inheritdoc/>
    public override string ToString() => $"({X}, {Y}, {Z})";
}
