namespace GpuEngine.Nn.Data;

/// <summary>A run of consecutive examples of another source, numbered from 0.</summary>
public sealed class ExampleRange : IExampleSource
{
    private readonly IExampleSource _inner;
    private readonly long _start;

    public ExampleRange(IExampleSource inner, long start, long count)
    {
        ArgumentNullException.ThrowIfNull(inner);
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (!inner.IsEndless) ArgumentOutOfRangeException.ThrowIfGreaterThan(count, inner.Count - start);
        (_inner, _start, Count) = (inner, start, count);
    }

    public ExampleShape Shape => _inner.Shape;

    public int ClassCount => _inner.ClassCount;

    public long Count { get; }

    public bool IsEndless => false;

    public ChannelStatistics? Statistics => _inner.Statistics;

    public void Read(long index, Span<float> input, out int label) => _inner.Read(Inner(index), input, out label);

    public void ReadPixels(long index, Span<byte> pixels, out int label) => _inner.ReadPixels(Inner(index), pixels, out label);

    private long Inner(long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
        return _start + index;
    }
}
