using System.Numerics;
using GpuEngine.Core.Random;

namespace GpuEngine.Nn.Data;

/// <summary>
/// Generated images of any shape, for measuring and for tests: a texture of the class plus uniform noise, of mean about
/// 0 and variance about 1. The texture is a plane wave with a wave vector, a phase and a weight per channel drawn for
/// the class, so a linear model can learn it and so can a convolutional one with global pooling. Image i is a function
/// of (seed, split, i).
/// </summary>
public sealed class SyntheticImages : IExampleSource
{
    /// <summary>Share of the texture in the variance.</summary>
    internal const double Signal = 0.25;

    private readonly ulong _seed;
    private readonly uint _stream;

    // Per class: the wave is cos(kx x + ky y + phase) = cosX cosY - sinX sinY, so a row and a column suffice.
    private readonly float[] _cosX;
    private readonly float[] _sinX;
    private readonly float[] _cosY;
    private readonly float[] _sinY;
    private readonly float[] _weights;

    /// <param name="shape">Shape of an image.</param>
    /// <param name="classCount">Number of classes.</param>
    /// <param name="seed">Draws the textures of the classes, the labels and the noise.</param>
    /// <param name="split">Splits share the textures and nothing else.</param>
    /// <param name="count">Images per epoch.</param>
    /// <param name="endless">False repeats the first <paramref name="count"/> images instead.</param>
    public SyntheticImages(ExampleShape shape, int classCount, ulong seed, DataSplit split, long count, bool endless)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(shape.Length);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classCount);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        (Shape, ClassCount, Count, IsEndless, _seed) = (shape, classCount, count, endless, seed);
        _stream = split switch
        {
            DataSplit.Train => DataStream.SyntheticTrain,
            DataSplit.Validation => DataStream.SyntheticValidation,
            DataSplit.Test => DataStream.SyntheticTest,
            _ => throw new ArgumentOutOfRangeException(nameof(split)),
        };
        _cosX = new float[classCount * shape.Width];
        _sinX = new float[classCount * shape.Width];
        _cosY = new float[classCount * shape.Height];
        _sinY = new float[classCount * shape.Height];
        _weights = new float[classCount * shape.Channels];
        for (var c = 0; c < classCount; c++) DrawTexture(c);
    }

    public ExampleShape Shape { get; }

    public int ClassCount { get; }

    public long Count { get; }

    public bool IsEndless { get; }

    public void Read(long index, Span<float> input, out int label)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        if (!IsEndless) ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
        var labels = new PhiloxSequence(_seed, _stream + DataStream.SyntheticLabels, offset: 0, 4 * index);
        label = (int)labels.NextBelow((uint)ClassCount);

        // Whole blocks per image, so that every image starts at one.
        var wordsPerImage = (Shape.Length + 3L) / 4 * 4;
        input = input[..Shape.Length];
        Philox.FillUniform(input, _seed, _stream, offset: 0, index * wordsPerImage);
        var cosX = _cosX.AsSpan(label * Shape.Width, Shape.Width);
        var sinX = _sinX.AsSpan(label * Shape.Width, Shape.Width);
        for (var c = 0; c < Shape.Channels; c++)
        {
            var weight = _weights[(label * Shape.Channels) + c];
            for (var y = 0; y < Shape.Height; y++)
            {
                var row = input.Slice(((c * Shape.Height) + y) * Shape.Width, Shape.Width);
                var at = (label * Shape.Height) + y;
                AddWave(row, cosX, sinX, weight * _cosY[at], -weight * _sinY[at]);
            }
        }
    }

    private static void AddWave(
        Span<float> row, ReadOnlySpan<float> cosX, ReadOnlySpan<float> sinX, float cosWeight, float sinWeight)
    {
        // The noise is uniform with mean 0 and the rest of the variance.
        var width = (float)Math.Sqrt(12 * (1 - Signal));
        var x = 0;
        for (; x <= row.Length - Vector<float>.Count; x += Vector<float>.Count)
        {
            var noise = (new Vector<float>(row[x..]) - new Vector<float>(0.5f)) * width;
            var wave = (new Vector<float>(cosX[x..]) * cosWeight) + (new Vector<float>(sinX[x..]) * sinWeight);
            (noise + wave).CopyTo(row[x..]);
        }

        for (; x < row.Length; x++)
        {
            row[x] = ((row[x] - 0.5f) * width) + ((cosX[x] * cosWeight) + (sinX[x] * sinWeight));
        }
    }

    private void DrawTexture(int label)
    {
        // Up to a quarter of a cycle per pixel: slow enough to survive a stride of 2. The half plane x >= 0 holds every
        // direction once.
        var random = new PhiloxSequence(_seed, DataStream.SyntheticTextures, (uint)label);
        var kx = 2 * Math.PI * random.NextUniform(0, 0.25f);
        var ky = 2 * Math.PI * random.NextUniform(-0.25f, 0.25f);
        var phase = 2 * Math.PI * random.NextUniform();
        for (var x = 0; x < Shape.Width; x++)
        {
            var (sin, cos) = Math.SinCos((kx * x) + phase);
            (_sinX[(label * Shape.Width) + x], _cosX[(label * Shape.Width) + x]) = ((float)sin, (float)cos);
        }

        for (var y = 0; y < Shape.Height; y++)
        {
            var (sin, cos) = Math.SinCos(ky * y);
            (_sinY[(label * Shape.Height) + y], _cosY[(label * Shape.Height) + y]) = ((float)sin, (float)cos);
        }

        // Weights of mean square 1; the mean square of a wave is 1/2.
        var weights = _weights.AsSpan(label * Shape.Channels, Shape.Channels);
        double squares = 0;
        foreach (ref var weight in weights)
        {
            weight = random.NextUniform(-1, 1);
            squares += weight * weight;
        }

        var scale = (float)Math.Sqrt(2 * Signal * Shape.Channels / Math.Max(squares, 1e-6));
        foreach (ref var weight in weights) weight *= scale;
    }
}
