using System.Numerics.Tensors;
using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>Examples given as floats in memory, used as they are.</summary>
public sealed class FloatExamples : IExampleSource
{
    private readonly float[] _inputs;
    private readonly int[] _labels;

    /// <param name="shape">Shape of one example.</param>
    /// <param name="classCount">Number of classes.</param>
    /// <param name="inputs">One example after another, labels.Length x shape.Length floats.</param>
    /// <param name="labels">One label per example.</param>
    /// <exception cref="UserException">The sizes do not agree, a label is out of range, or an input is not
    /// finite.</exception>
    public FloatExamples(ExampleShape shape, int classCount, float[] inputs, int[] labels)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(labels);
        if (inputs.Length != (long)labels.Length * shape.Length)
        {
            throw new UserException(
                $"{labels.Length} labels go with {labels.Length} x {shape.Length} floats for examples of {shape}, "
                + $"but {inputs.Length} were given.");
        }

        // A sum is finite only if every term is, unless it overflows: then the exact search decides.
        if (!float.IsFinite(TensorPrimitives.Sum<float>(inputs)))
        {
            for (var i = 0; i < inputs.Length; i++)
            {
                if (float.IsFinite(inputs[i])) continue;
                throw new UserException(
                    $"Input {i % shape.Length} of example {i / shape.Length} is {inputs[i]}; every input must be a "
                    + "finite number, so mend or leave out that example.");
            }
        }

        for (var i = 0; i < labels.Length; i++)
        {
            if ((uint)labels[i] < (uint)classCount) continue;
            throw new UserException(
                $"Label {labels[i]} of example {i} is out of range; labels of {classCount} classes are 0 to "
                + $"{classCount - 1}.");
        }

        (Shape, ClassCount, _inputs, _labels) = (shape, classCount, inputs, labels);
    }

    public ExampleShape Shape { get; }

    public int ClassCount { get; }

    public long Count => _labels.Length;

    public bool IsEndless => false;

    public void Read(long index, Span<float> input, out int label)
    {
        label = _labels[index];
        _inputs.AsSpan((int)index * Shape.Length, Shape.Length).CopyTo(input);
    }
}
