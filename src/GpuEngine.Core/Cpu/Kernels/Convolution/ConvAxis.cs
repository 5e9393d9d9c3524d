namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>
/// Output coordinates First, First + OutStep, ... (Count of them) that meet the same taps of the filter: number i of them meets tap
/// Taps[t] at input coordinate InStep * i + Offsets[t].
/// </summary>
internal sealed record AxisClass(int First, int Count, int[] Taps, int[] Offsets);

/// <summary>
/// How one spatial axis of a convolution, or of its input gradient, reads its input. A convolution has one class of outputs; an
/// input gradient has one per residue of the stride, each a dense convolution with some of the taps.
/// </summary>
internal sealed class ConvAxis
{
    private readonly int[] _taps;

    private ConvAxis(int output, int input, int outStep, int inStep, AxisClass[] classes)
    {
        (Output, Input, OutStep, InStep, Classes) = (output, input, outStep, inStep, classes);
        _taps = new int[2 * output];
        for (var o = 0; o < output; o++)
        {
            // Offsets rise or fall throughout, so the taps inside are a range.
            var offsets = classes[o % outStep].Offsets;
            var origin = inStep * (o / outStep);
            var inside = Enumerable.Range(0, offsets.Length).Where(t => (uint)(origin + offsets[t]) < (uint)input).ToArray();
            if (inside.Length > 0) (_taps[2 * o], _taps[2 * o + 1]) = (inside[0], inside[^1] + 1);
        }

        foreach (var part in classes)
        {
            if (part.Count == 0) continue;
            foreach (var offset in part.Offsets)
            {
                PadLow = Math.Max(PadLow, -offset);
                PadHigh = Math.Max(PadHigh, inStep * (part.Count - 1) + offset - (input - 1));
            }
        }
    }

    public int Output { get; }

    public int Input { get; }

    public int OutStep { get; }

    public int InStep { get; }

    public AxisClass[] Classes { get; }

    /// <summary>How far taps reach in front of the input.</summary>
    public int PadLow { get; }

    /// <summary>How far taps reach behind the input.</summary>
    public int PadHigh { get; }

    /// <summary>y[o] takes tap t at x[o * stride + t * dilation - padding].</summary>
    public static ConvAxis Forward(int output, int input, int kernel, int stride, int padding, int dilation)
    {
        var taps = Enumerable.Range(0, kernel).ToArray();
        return new(output, input, 1, stride, [new(0, output, taps, [.. taps.Select(t => t * dilation - padding)])]);
    }

    /// <summary>dx[i] takes tap t at dy[(i + padding - t * dilation) / stride] where that is whole.</summary>
    public static ConvAxis Backward(int output, int input, int kernel, int stride, int padding, int dilation)
    {
        var classes = new AxisClass[Math.Min(stride, Math.Max(output, 1))];
        for (var first = 0; first < classes.Length; first++)
        {
            int[] taps = [.. Enumerable.Range(0, kernel).Where(t => (first + padding - t * dilation) % stride == 0)];
            classes[first] = new(
                first, (output - first + stride - 1) / stride, taps, [.. taps.Select(t => (first + padding - t * dilation) / stride)]);
        }

        return new(output, input, stride, 1, classes);
    }

    /// <summary>The taps [Start, End) of its class that output <paramref name="o"/> meets inside the input.</summary>
    public (int Start, int End) Inside(int o) => (_taps[2 * o], _taps[2 * o + 1]);

    /// <summary>The input coordinates [Start, End) that outputs [<paramref name="first"/>, <paramref name="end"/>) read.</summary>
    public (int Start, int End) Reach(int first, int end)
    {
        var (low, high) = (Input, 0);
        for (var o = first; o < end; o++)
        {
            var part = Classes[o % OutStep];
            var i = o / OutStep;
            var (t0, t1) = Inside(o);
            if (t0 == t1) continue;
            var (a, b) = (InStep * i + part.Offsets[t0], InStep * i + part.Offsets[t1 - 1]);
            (low, high) = (Math.Min(low, Math.Min(a, b)), Math.Max(high, Math.Max(a, b) + 1));
        }

        return low < high ? (low, high) : (0, 0);
    }
}
