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

    public void Read(long index, Span<float> input, out int label)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
        _inner.Read(_start + index, input, out label);
    }
}
