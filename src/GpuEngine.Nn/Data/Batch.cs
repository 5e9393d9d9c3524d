namespace GpuEngine.Nn.Data;

/// <summary>
/// Where a loader stands: the next batch it gives is <paramref name="Batch"/> of <paramref name="Epoch"/>.
/// </summary>
/// <param name="Epoch">Passes completed, from 0.</param>
/// <param name="Batch">Batches of this pass already given.</param>
public readonly record struct LoaderCursor(long Epoch, long Batch);

/// <summary>One batch in buffers that the loader owns and reuses: valid until its next Take, or its end.</summary>
public sealed class Batch
{
    internal Batch(int size, ExampleShape shape, bool bytes)
    {
        // Pinned, so that a device may be handed the address without holding up the collector.
        Inputs = GC.AllocateArray<float>(bytes ? 0 : checked(size * shape.Length), pinned: true);
        Pixels = GC.AllocateArray<byte>(bytes ? checked(size * shape.Length) : 0, pinned: true);
        Labels = GC.AllocateArray<int>(size, pinned: true);
        Indices = new long[size];
        Size = size;
    }

    /// <summary>Rows in the buffers.</summary>
    public int Size { get; }

    /// <summary>Size x channels x height x width floats; empty where the loader gives bytes.</summary>
    public float[] Inputs { get; }

    /// <summary>The same as bytes, where the loader was asked for them; else empty.</summary>
    public byte[] Pixels { get; }

    /// <summary>Which example of the source each row is.</summary>
    public long[] Indices { get; }

    /// <summary>Size labels.</summary>
    public int[] Labels { get; }

    /// <summary>
    /// Rows that are examples: all, except in the last batch of an epoch that keeps its rest. Rows beyond repeat the
    /// last one, so that they are harmless to compute but must not be counted.
    /// </summary>
    public int Count { get; internal set; }

    /// <summary>Which batch this is.</summary>
    public LoaderCursor Cursor { get; internal set; }
}
