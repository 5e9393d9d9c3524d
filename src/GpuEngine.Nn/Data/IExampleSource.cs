namespace GpuEngine.Nn.Data;

/// <summary>Channels, height and width of one example. A point with F features is F x 1 x 1.</summary>
public readonly record struct ExampleShape(int Channels, int Height, int Width)
{
    /// <summary>Floats per example.</summary>
    public int Length => Channels * Height * Width;

    /// <summary>As people write it: 3x32x32.</summary>
    public override string ToString() => $"{Channels}x{Height}x{Width}";
}

/// <summary>
/// Numbered, labelled examples of one shape. Example i never changes, so that a batch is a function of the indices in
/// it alone and a training run can be continued anywhere. Safe to read from several threads at once.
/// </summary>
public interface IExampleSource
{
    ExampleShape Shape { get; }

    /// <summary>Labels are 0 .. ClassCount - 1.</summary>
    int ClassCount { get; }

    /// <summary>Examples in one epoch. All of them, unless the source is endless.</summary>
    long Count { get; }

    /// <summary>
    /// True if indices beyond <see cref="Count"/> are good too: epoch e then reads e * Count .. (e + 1) * Count - 1 and
    /// no example ever comes twice.
    /// </summary>
    bool IsEndless { get; }

    /// <summary>Writes example <paramref name="index"/> as channels x height x width standardised floats.</summary>
    /// <param name="index">0 .. Count - 1; of an endless source any number from 0.</param>
    /// <param name="input">Shape.Length floats.</param>
    /// <param name="label">The class.</param>
    void Read(long index, Span<float> input, out int label);

    /// <summary>Mean and deviation that <see cref="Read"/> standardises with; null where examples are no bytes.</summary>
    ChannelStatistics? Statistics => null;

    /// <summary>Writes example <paramref name="index"/> as the bytes that it is kept in, channels x height x width.</summary>
    /// <exception cref="NotSupportedException">The examples are no bytes (<see cref="Statistics"/> is null).</exception>
    void ReadPixels(long index, Span<byte> pixels, out int label) => throw new NotSupportedException("These examples are not made of bytes.");
}
