using GpuEngine.Nn.Data;
using Xunit;

namespace GpuEngine.Tests.Data;

internal static class Example
{
    /// <summary>Reads one example into a buffer of NaN, so that a float not written shows.</summary>
    public static (float[] Input, int Label) Read(IExampleSource source, long index)
    {
        var input = new float[source.Shape.Length];
        Array.Fill(input, float.NaN);
        source.Read(index, input, out var label);
        return (input, label);
    }

    public static void AssertSame(IExampleSource expected, long expectedIndex, IExampleSource actual, long actualIndex)
    {
        var (input, label) = Read(expected, expectedIndex);
        var (otherInput, otherLabel) = Read(actual, actualIndex);
        Assert.Equal(input, otherInput);
        Assert.Equal(label, otherLabel);
    }
}
