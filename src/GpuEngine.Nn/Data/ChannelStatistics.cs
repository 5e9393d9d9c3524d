using System.Numerics;

namespace GpuEngine.Nn.Data;

/// <summary>Mean and standard deviation of every channel, in units of a byte (0 to 255).</summary>
public sealed record ChannelStatistics(IReadOnlyList<double> Mean, IReadOnlyList<double> Deviation)
{
    /// <summary>
    /// Over all pixels of all images. The sums are integers, so the result does not depend on the order of summation.
    /// A channel of one value gets deviation 1 instead of 0.
    /// </summary>
    internal static ChannelStatistics Of(ReadOnlySpan<byte> pixels, ExampleShape shape)
    {
        var sums = new long[shape.Channels];
        var squares = new long[shape.Channels];
        var area = shape.Height * shape.Width;
        for (var start = 0; start < pixels.Length; start += shape.Length)
        {
            for (var c = 0; c < shape.Channels; c++)
            {
                var (sum, square) = Sums(pixels.Slice(start + (c * area), area));
                sums[c] += sum;
                squares[c] += square;
            }
        }

        var count = (long)(pixels.Length / shape.Length) * area;
        var mean = new double[shape.Channels];
        var deviation = new double[shape.Channels];
        for (var c = 0; c < shape.Channels; c++)
        {
            mean[c] = (double)sums[c] / count;

            // n * sum of squares - square of the sum, exactly: nothing cancels.
            var variance = (double)(((Int128)count * squares[c]) - ((Int128)sums[c] * sums[c])) / count / count;
            deviation[c] = variance > 0 ? Math.Sqrt(variance) : 1;
        }

        return new ChannelStatistics(mean, deviation);
    }

    private static (long Sum, long Squares) Sums(ReadOnlySpan<byte> pixels)
    {
        // A 32-bit lane holds 66,051 squares of a byte; a run of this many pixels puts at most 2^12 into one.
        const int Run = 1 << 14;
        long sum = 0;
        long squares = 0;
        for (var start = 0; start < pixels.Length; start += Run)
        {
            var run = pixels.Slice(start, Math.Min(Run, pixels.Length - start));
            var (sumLanes, squareLanes) = (Vector<uint>.Zero, Vector<uint>.Zero);
            var i = 0;
            for (; i <= run.Length - Vector<byte>.Count; i += Vector<byte>.Count)
            {
                Vector.Widen(new Vector<byte>(run[i..]), out var low, out var high);
                Vector.Widen(low + high, out var a, out var b);
                sumLanes += a + b;
                Vector.Widen(low * low, out a, out b);   // 255 * 255 fits 16 bits
                squareLanes += a + b;
                Vector.Widen(high * high, out a, out b);
                squareLanes += a + b;
            }

            sum += Total(sumLanes);
            squares += Total(squareLanes);
            for (; i < run.Length; i++)
            {
                sum += run[i];
                squares += run[i] * run[i];
            }
        }

        return (sum, squares);
    }

    private static long Total(Vector<uint> lanes)
    {
        // Lanes may be large: their sum needs 64 bits.
        Vector.Widen(lanes, out var low, out var high);
        return (long)Vector.Sum(low + high);
    }
}
