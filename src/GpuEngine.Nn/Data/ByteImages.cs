using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace GpuEngine.Nn.Data;

/// <summary>
/// Images kept as bytes, a quarter of their size as floats, and standardised on the fly: (pixel - mean) / deviation of
/// its channel.
/// </summary>
public sealed class ByteImages : IExampleSource
{
    private readonly byte[] _pixels;
    private readonly byte[] _labels;
    private readonly float[] _scale;
    private readonly float[] _shift;

    /// <param name="shape">Shape of one image.</param>
    /// <param name="classCount">Number of classes, at most 256.</param>
    /// <param name="pixels">One image after another, each channels x height x width.</param>
    /// <param name="labels">One label per image, checked by who read them.</param>
    /// <param name="statistics">Mean and deviation per channel.</param>
    internal ByteImages(ExampleShape shape, int classCount, byte[] pixels, byte[] labels, ChannelStatistics statistics)
    {
        (Shape, ClassCount, _pixels, _labels, Statistics) = (shape, classCount, pixels, labels, statistics);
        _scale = new float[shape.Channels];
        _shift = new float[shape.Channels];
        for (var c = 0; c < shape.Channels; c++)
        {
            _scale[c] = (float)(1 / statistics.Deviation[c]);
            _shift[c] = (float)(-statistics.Mean[c] / statistics.Deviation[c]);
        }
    }

    public ExampleShape Shape { get; }

    public int ClassCount { get; }

    public long Count => _labels.Length;

    public bool IsEndless => false;

    /// <summary>What the pixels are standardised with, in units of a byte (0 to 255).</summary>
    public ChannelStatistics Statistics { get; }

    ChannelStatistics? IExampleSource.Statistics => Statistics;

    /// <summary>The bytes of image <paramref name="index"/>, channels x height x width.</summary>
    public ReadOnlySpan<byte> Pixels(long index) =>
        _pixels.AsSpan(checked((int)(index * Shape.Length)), Shape.Length);

    public void ReadPixels(long index, Span<byte> pixels, out int label)
    {
        label = _labels[index];
        Pixels(index).CopyTo(pixels);
    }

    public void Read(long index, Span<float> input, out int label)
    {
        label = _labels[index];
        var pixels = Pixels(index);
        var area = Shape.Height * Shape.Width;
        for (var c = 0; c < Shape.Channels; c++)
            Standardise(pixels.Slice(c * area, area), input.Slice(c * area, area), _scale[c], _shift[c]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Standardise(ReadOnlySpan<byte> pixels, Span<float> input, float scale, float shift)
    {
        ref var from = ref MemoryMarshal.GetReference(pixels);
        ref var to = ref MemoryMarshal.GetReference(input);
        var i = 0;
        var (scales, shifts) = (Vector256.Create(scale), Vector256.Create(shift));
        for (; i <= pixels.Length - Vector128<byte>.Count; i += Vector128<byte>.Count)
        {
            var bytes = Vector128.LoadUnsafe(ref from, (nuint)i);
            var (low, high) = Vector256.Widen(Vector256.WidenLower(bytes.ToVector256()));
            ((Vector256.ConvertToSingle(low.AsInt32()) * scales) + shifts).StoreUnsafe(ref to, (nuint)i);
            ((Vector256.ConvertToSingle(high.AsInt32()) * scales) + shifts).StoreUnsafe(ref to, (nuint)i + 8);
        }

        for (; i < pixels.Length; i++) input[i] = (pixels[i] * scale) + shift;
    }
}
