using System.Collections;
using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Graph;

/// <summary>The extents of a tensor, outermost first; row-major (C) order is implied everywhere. Rank 0 is a scalar.</summary>
[CollectionBuilder(typeof(Shape), nameof(Create))]
public readonly struct Shape : IReadOnlyList<int>, IEquatable<Shape>
{
    private readonly Ints _dims;

    public Shape(params ReadOnlySpan<int> dims)
    {
        foreach (var dim in dims)
        {
            if (dim < 0) throw new ShapeException($"A shape cannot have the negative extent {dim}.");
        }

        _dims = Ints.Create(dims);
    }

    public static Shape Scalar => default;

    public int Rank => _dims.Count;

    int IReadOnlyCollection<int>.Count => Rank;

    /// <summary>The extent of an axis.</summary>
    public int this[int axis] => _dims[axis];

    public int this[Index axis] => _dims[axis.GetOffset(Rank)];

    /// <summary>Number of elements (1 for a scalar, 0 when any extent is 0).</summary>
    public long Elements
    {
        get
        {
            var n = 1L;
            foreach (var d in _dims.AsSpan()) n = checked(n * d);
            return n;
        }
    }

    public static Shape Create(ReadOnlySpan<int> dims) => new(dims);

    public static bool operator ==(Shape left, Shape right) => left.Equals(right);

    public static bool operator !=(Shape left, Shape right) => !left.Equals(right);

    public ReadOnlySpan<int> AsSpan() => _dims.AsSpan();

    public int[] ToArray() => _dims.ToArray();

    public Ints ToInts() => _dims;

    /// <summary>Elements between neighbours along each axis of a contiguous tensor.</summary>
    public long[] Strides()
    {
        var strides = new long[Rank];
        var step = 1L;
        for (var axis = Rank - 1; axis >= 0; axis--)
        {
            strides[axis] = step;
            step *= this[axis];
        }

        return strides;
    }

    /// <summary>The same shape with one extent replaced.</summary>
    public Shape With(int axis, int extent)
    {
        var dims = ToArray();
        dims[axis] = extent;
        return new Shape(dims);
    }

    /// <summary>The product of the extents from <paramref name="start"/> up to, not including, <paramref name="end"/>.</summary>
    public long Product(int start, int end)
    {
        var n = 1L;
        for (var axis = start; axis < end; axis++) n = checked(n * this[axis]);
        return n;
    }

    /// <summary>Turns a possibly negative axis (torch style) into one in [0, rank).</summary>
    /// <exception cref="ShapeException">The axis is out of range.</exception>
    public int Axis(int axis, string what)
    {
        var resolved = axis < 0 ? axis + Rank : axis;
        if (resolved < 0 || resolved >= Math.Max(Rank, 1))
            throw new ShapeException($"{what}: axis {axis} is out of range for a tensor of shape {this}; expected {-Rank} to {Rank - 1}.");
        return resolved;
    }

    /// <summary>The common shape of two operands under the usual (NumPy) broadcasting rule.</summary>
    /// <exception cref="ShapeException">The extents of some axis differ and neither is 1.</exception>
    public static Shape Broadcast(Shape a, Shape b, string what)
    {
        var rank = Math.Max(a.Rank, b.Rank);
        var dims = new int[rank];
        for (var i = 1; i <= rank; i++)
        {
            var x = i <= a.Rank ? a[^i] : 1;
            var y = i <= b.Rank ? b[^i] : 1;
            if (x != y && x != 1 && y != 1)
                throw new ShapeException($"{what}: shapes {a} and {b} cannot be broadcast together ({x} against {y}).");
            dims[rank - i] = x == 1 ? y : x;
        }

        return new Shape(dims);
    }

    public bool Equals(Shape other) => _dims.Equals(other._dims);

    public override bool Equals(object? obj) => obj is Shape other && Equals(other);

    public override int GetHashCode() => _dims.GetHashCode();

    public IEnumerator<int> GetEnumerator() => _dims.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() => _dims.ToString();
}
