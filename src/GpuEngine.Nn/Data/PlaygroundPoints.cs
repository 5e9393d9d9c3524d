using GpuEngine.Core;
using GpuEngine.Core.Random;

namespace GpuEngine.Nn.Data;

/// <summary>The classification point sets of TensorFlow playground.</summary>
public enum PlaygroundSet
{
    Circle,
    Xor,
    Gaussian,
    Spiral,
}

/// <summary>
/// Draws the point sets as TensorFlow playground defines them (github.com/tensorflow/playground, src/dataset.ts): two
/// features x and y of about -6 to 6, not standardised. Its labels -1 and 1 are 0 and 1 here. Noise is 0 to 0.5, which
/// the playground shows as 0 to 50.
/// </summary>
internal static class PlaygroundPoints
{
    private const double Radius = 5;

    /// <summary>All points of a set in the shuffled order in which they are split.</summary>
    /// <exception cref="UserException">The noise is negative or not a number, or there are fewer than 2
    /// points.</exception>
    public static FloatExamples Draw(PlaygroundSet set, int points, double noise, ulong seed)
    {
        if (!(noise >= 0 && double.IsFinite(noise)))
        {
            throw new UserException(
                $"A noise of {noise} is not possible for playground points; give a number from 0 to 0.5.");
        }

        if (points < 2)
            throw new UserException($"A playground set of {points} points is not possible; ask for at least 2.");

        var order = new int[points];
        Philox.Permutation(order, seed, DataStream.PlaygroundOrder, (uint)set);
        var normals = new double[2 * points];
        if (set == PlaygroundSet.Gaussian) Philox.FillNormal(normals, seed, DataStream.PlaygroundPoints, (uint)set);
        var inputs = new float[2 * points];
        var labels = new int[points];
        var positives = (points + 1) / 2;
        for (var i = 0; i < points; i++)
        {
            var random = new PhiloxSequence(seed, DataStream.PlaygroundPoints, (uint)set, 4L * i);
            var positive = i < positives;
            var along = positive ? (double)i / positives : (double)(i - positives) / (points - positives);
            var (x, y, label) = set switch
            {
                PlaygroundSet.Circle => CirclePoint(ref random, positive, noise),
                PlaygroundSet.Xor => XorPoint(ref random, noise),
                PlaygroundSet.Gaussian => GaussianPoint(normals.AsSpan(2 * i, 2), positive, noise),
                PlaygroundSet.Spiral => SpiralPoint(ref random, along, positive, noise),
                _ => throw new ArgumentOutOfRangeException(nameof(set)),
            };
            inputs[2 * order[i]] = (float)x;
            inputs[(2 * order[i]) + 1] = (float)y;
            labels[order[i]] = label ? 1 : 0;
        }

        return new FloatExamples(new ExampleShape(2, 1, 1), 2, inputs, labels);
    }

    /// <summary>
    /// A disc of half the radius inside a ring; noise moves the point that decides the label, not the one shown.
    /// </summary>
    private static (double X, double Y, bool Label) CirclePoint(ref PhiloxSequence random, bool inner, double noise)
    {
        var r = inner ? Uniform(ref random, 0, Radius * 0.5) : Uniform(ref random, Radius * 0.7, Radius);
        var (sin, cos) = Math.SinCos(Uniform(ref random, 0, 2 * Math.PI));
        var (x, y) = (r * sin, r * cos);
        var noiseX = Uniform(ref random, -Radius, Radius) * noise;
        var noiseY = Uniform(ref random, -Radius, Radius) * noise;
        return (x, y, Math.Sqrt(((x + noiseX) * (x + noiseX)) + ((y + noiseY) * (y + noiseY))) < Radius * 0.5);
    }

    /// <summary>Four squares, padded away from the axes; noise moves the point that decides the label.</summary>
    private static (double X, double Y, bool Label) XorPoint(ref PhiloxSequence random, double noise)
    {
        const double Padding = 0.3;
        var x = Uniform(ref random, -5, 5);
        x += x > 0 ? Padding : -Padding;
        var y = Uniform(ref random, -5, 5);
        y += y > 0 ? Padding : -Padding;
        var noiseX = Uniform(ref random, -5, 5) * noise;
        var noiseY = Uniform(ref random, -5, 5) * noise;
        return (x, y, (x + noiseX) * (y + noiseY) >= 0);
    }

    /// <summary>Round clouds at (2, 2) and (-2, -2) of variance 0.5, growing to 4 at noise 0.5.</summary>
    private static (double X, double Y, bool Label) GaussianPoint(
        ReadOnlySpan<double> normal, bool positive, double noise)
    {
        var centre = positive ? 2.0 : -2.0;
        var deviation = Math.Sqrt(0.5 + (7 * noise));
        return (centre + (deviation * normal[0]), centre + (deviation * normal[1]), positive);
    }

    /// <summary>Two arms of 1.75 turns; noise moves the point shown.</summary>
    private static (double X, double Y, bool Label) SpiralPoint(
        ref PhiloxSequence random, double along, bool positive, double noise)
    {
        var r = along * 5;
        var (sin, cos) = Math.SinCos((1.75 * along * 2 * Math.PI) + (positive ? 0 : Math.PI));
        var x = (r * sin) + (Uniform(ref random, -1, 1) * noise);
        var y = (r * cos) + (Uniform(ref random, -1, 1) * noise);
        return (x, y, positive);
    }

    private static double Uniform(ref PhiloxSequence random, double low, double high) =>
        low + ((high - low) * random.NextUniform());
}
