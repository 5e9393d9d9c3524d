using System.Collections;
using System.Runtime.CompilerServices;

namespace GpuEngine.Core.Graph;

/// <summary>
/// A short immutable list of integers that compares by value, so that the records which hold one (op attributes) do too.
/// </summary>
[CollectionBuilder(typeof(Ints), nameof(Create))]
public readonly struct Ints : IReadOnlyList<int>, IEquatable<Ints>
{
    private readonly int[]? _items;

    private Ints(int[] items) => _items = items;

    public int Count => _items?.Length ?? 0;

    public int this[int index] => Items[index];

    private int[] Items => _items ?? [];

    public static Ints Create(ReadOnlySpan<int> items) => new(items.ToArray());

    public static Ints Repeat(int value, int count) => new(Enumerable.Repeat(value, count).ToArray());

    public static Ints Range(int start, int count) => new(Enumerable.Range(start, count).ToArray());

    public static implicit operator Ints(int[] items) => new((int[])items.Clone());

    public static bool operator ==(Ints left, Ints right) => left.Equals(right);

    public static bool operator !=(Ints left, Ints right) => !left.Equals(right);

    public ReadOnlySpan<int> AsSpan() => Items;

    public int[] ToArray() => (int[])Items.Clone();

    public bool Equals(Ints other) => Items.AsSpan().SequenceEqual(other.Items);

    public override bool Equals(object? obj) => obj is Ints other && Equals(other);

    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (var item in Items) hash.Add(item);
        return hash.ToHashCode();
    }

    public IEnumerator<int> GetEnumerator() => ((IEnumerable<int>)Items).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() => $"[{string.Join(", ", Items)}]";
}
