namespace GpuEngine.Core.Cpu.Gemm;

/// <summary>
/// Rows cut into tiles of nearly equal height: the first <see cref="HighCount"/> have <see cref="Height"/> rows, the
/// others one less. 128 rows are eight tiles of 13 and two of 12 rather than nine of 14 and a poor one of 2.
/// </summary>
internal readonly struct TileSplit
{
    /// <param name="rows">At least 1.</param>
    /// <param name="most">Rows of the largest tile.</param>
    public TileSplit(int rows, int most)
    {
        Count = (rows + most - 1) / most;
        Height = (rows + Count - 1) / Count;
        HighCount = rows - (Count * (Height - 1));
    }

    public int Count { get; }

    public int Height { get; }

    public int HighCount { get; }
}
