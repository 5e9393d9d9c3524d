using System.Runtime.Intrinsics;
using GpuEngine.Core;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Random;

namespace GpuEngine.Nn.Initializers;

/// <summary>
/// A uniformly distributed (semi-)orthogonal matrix times gain (Saxe et al. 2013): the trailing axes are flattened; rows are
/// orthonormal when there are no more of them than columns, otherwise columns. As in torch.nn.init.orthogonal_ the factor Q of
/// a normal matrix gets the signs that make R's diagonal positive (Mezzadri 2006); modified Gram-Schmidt gives just that,
/// and a second pass makes it orthogonal to working precision (Giraud et al. 2005, "twice is enough").
/// </summary>
public class Orthogonal : Initializer
{
    private readonly double _gain;

    public Orthogonal(double gain = 1) : this($"orthogonal:{gain}", gain)
    {
    }

    protected Orthogonal(string name, double gain) : base(name) => _gain = gain;

    public sealed override void Fill(Span<double> values, Shape shape, ulong seed, uint stream)
    {
        CheckLength(values.Length, shape);
        if (shape.Rank < 2) throw new UserException($"orthogonal needs a weight with two or more axes, but got shape {shape}.");
        if (values.Length == 0) return;
        var rows = shape[0];
        var columns = values.Length / rows;
        var (count, length) = (Math.Min(rows, columns), Math.Max(rows, columns));
        // One vector per row of the scratch, so that dot products run along memory.
        var vectors = new double[values.Length];
        Philox.FillNormal(vectors.AsSpan(), seed, stream, 0);
        for (var v = 0; v < count; v++) Orthonormalise(vectors, v, length);
        for (var i = 0; i < values.Length; i++)
        {
            var (row, column) = (i / columns, i % columns);
            values[i] = _gain * (rows <= columns ? vectors[i] : vectors[column * length + row]);
        }
    }

    public sealed override void Fill(Span<float> values, Shape shape, ulong seed, uint stream)
    {
        var wide = new double[values.Length];
        Fill(wide, shape, seed, stream);
        for (var i = 0; i < wide.Length; i++) values[i] = (float)wide[i];
    }

    protected sealed override void FillRange(Span<double> part, long start, Shape shape, ulong seed, uint stream) =>
        throw new InvalidOperationException("The entries of an orthogonal matrix are made together.");

    private static void Orthonormalise(double[] vectors, int index, int length)
    {
        var vector = vectors.AsSpan(index * length, length);
        for (var pass = 0; pass < 2; pass++)
        {
            for (var other = 0; other < index; other++)
            {
                var done = vectors.AsSpan(other * length, length);
                Subtract(vector, Dot(vector, done), done);
            }
        }

        var norm = Math.Sqrt(Dot(vector, vector));
        for (var i = 0; i < length; i++) vector[i] /= norm;
    }

    // Eight lanes whatever the processor has, so that sums are made in one order everywhere.
    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        var lanes = Vector512<double>.Zero;
        var i = 0;
        for (; i <= a.Length - Vector512<double>.Count; i += Vector512<double>.Count)
            lanes += Vector512.Create(a[i..]) * Vector512.Create(b[i..]);
        var sum = 0.0;
        for (var lane = 0; lane < Vector512<double>.Count; lane++) sum += lanes[lane];
        for (; i < a.Length; i++) sum += a[i] * b[i];
        return sum;
    }

    private static void Subtract(Span<double> vector, double factor, ReadOnlySpan<double> done)
    {
        var i = 0;
        for (; i <= vector.Length - Vector512<double>.Count; i += Vector512<double>.Count)
            (Vector512.Create<double>(vector[i..]) - Vector512.Create(factor) * Vector512.Create(done[i..])).CopyTo(vector[i..]);
        for (; i < vector.Length; i++) vector[i] -= factor * done[i];
    }
}

/// <summary>The start of LSUV: orthonormal weights, to be rescaled on data by <see cref="Lsuv"/>.</summary>
public sealed class LsuvStart() : Orthogonal("lsuv", 1)
{
    public override bool NeedsData => true;
}
