using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Nn.Data;

namespace GpuEngine.Nn.Training;

/// <summary>
/// The weight of a whitening convolution from training images: with the covariance of their patches = sum of lambda v v^T, the filters
/// v / sqrt(lambda + eps) by falling lambda, then the same negated. The covariance is about zero, as images are standardised.
/// </summary>
internal static class WhiteningInitialization
{
    private const int MostImages = 5000;
    private const double Eps = 5e-4;

    public static void Run(IVariableStore store, ModelVariables model, IExampleSource images)
    {
        foreach (var (_, buffer, variable) in model.Buffers.Where(b => b.Buffer.WhitensImages))
            store.Write<float>(variable, Weight(images, buffer.Shape));
    }

    /// <summary>The weight [2 C k k, C, k, k].</summary>
    internal static float[] Weight(IExampleSource images, Shape shape)
    {
        var size = shape[1] * shape[2] * shape[3];
        var (values, vectors) = Eigenvectors(Covariance(images, shape[2], shape[3]));
        var order = Enumerable.Range(0, size).OrderByDescending(i => values[i]).ToArray();
        var weight = new float[2 * size * size];
        for (var row = 0; row < size; row++)
        {
            var scale = 1 / Math.Sqrt(Math.Max(values[order[row]], 0) + Eps);
            for (var i = 0; i < size; i++)
            {
                var w = (float)(vectors[i, order[row]] * scale);
                (weight[row * size + i], weight[(size + row) * size + i]) = (w, -w);
            }
        }

        return weight;
    }

    private static double[,] Covariance(IExampleSource images, int height, int width)
    {
        var shape = images.Shape;
        var size = shape.Channels * height * width;
        var sums = new double[size, size];
        var image = new float[shape.Length];
        var patch = new double[size];
        var count = Math.Min(images.Count, MostImages);
        for (var n = 0L; n < count; n++)
        {
            images.Read(n, image, out _);
            for (var y = 0; y + height <= shape.Height; y++)
            {
                for (var x = 0; x + width <= shape.Width; x++)
                {
                    for (var i = 0; i < size; i++)
                        patch[i] = image[(i / (height * width) * shape.Height + y + i / width % height) * shape.Width + x + i % width];
                    for (var i = 0; i < size; i++)
                    {
                        for (var j = i; j < size; j++) sums[i, j] += patch[i] * patch[j];
                    }
                }
            }
        }

        var patches = (double)count * (shape.Height - height + 1) * (shape.Width - width + 1);
        for (var i = 0; i < size; i++)
        {
            for (var j = i; j < size; j++) sums[j, i] = sums[i, j] /= patches;
        }

        return sums;
    }

    /// <summary>Jacobi's rotations (Golub and Van Loan, section 8.5): for a dozen rows a handful of sweeps. Columns are vectors.</summary>
    private static (double[] Values, double[,] Vectors) Eigenvectors(double[,] a)
    {
        const int MostSweeps = 50;
        var size = a.GetLength(0);
        var vectors = new double[size, size];
        for (var i = 0; i < size; i++) vectors[i, i] = 1;
        for (var sweep = 0; sweep < MostSweeps && OffDiagonal(a) > 1e-28; sweep++)
        {
            for (var p = 0; p < size; p++)
            {
                for (var q = p + 1; q < size; q++) Rotate(a, vectors, p, q);
            }
        }

        return ([.. Enumerable.Range(0, size).Select(i => a[i, i])], vectors);
    }

    /// <summary>Squares off the diagonal over those on it.</summary>
    private static double OffDiagonal(double[,] a)
    {
        var (off, on) = (0.0, double.Epsilon);
        for (var i = 0; i < a.GetLength(0); i++)
        {
            on += a[i, i] * a[i, i];
            for (var j = 0; j < i; j++) off += 2 * a[i, j] * a[i, j];
        }

        return off / on;
    }

    /// <summary>The rotation of rows and columns p and q after which a[p, q] is zero.</summary>
    private static void Rotate(double[,] a, double[,] vectors, int p, int q)
    {
        if (a[p, q] == 0) return;
        var theta = (a[q, q] - a[p, p]) / (2 * a[p, q]);
        var tangent = (theta < 0 ? -1 : 1) / (Math.Abs(theta) + Math.Sqrt(theta * theta + 1));
        var cosine = 1 / Math.Sqrt(tangent * tangent + 1);
        var sine = tangent * cosine;
        var size = a.GetLength(0);
        for (var k = 0; k < size; k++) (a[k, p], a[k, q]) = (cosine * a[k, p] - sine * a[k, q], sine * a[k, p] + cosine * a[k, q]);
        for (var k = 0; k < size; k++) (a[p, k], a[q, k]) = (cosine * a[p, k] - sine * a[q, k], sine * a[p, k] + cosine * a[q, k]);
        for (var k = 0; k < size; k++)
            (vectors[k, p], vectors[k, q]) = (cosine * vectors[k, p] - sine * vectors[k, q], sine * vectors[k, p] + cosine * vectors[k, q]);
    }
}
