using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Plan;

/// <summary>One piece of storage and everything that lives in it: a variable, or a slice of an arena to be placed.</summary>
internal sealed class StorageBlock
{
    public StorageBlock(MemoryClass memoryClass, Tensor owner)
    {
        Class = memoryClass;
        Owner = owner;
    }

    public StorageBlock(Variable variable, Tensor owner)
    {
        Variable = variable;
        Class = variable.MemoryClass;
        Owner = owner;
    }

    public Variable? Variable { get; }

    public MemoryClass Class { get; }

    /// <summary>The value that the storage was made for.</summary>
    public Tensor Owner { get; }

    public long Bytes => Owner.Type.Bytes;

    public List<Tensor> Tensors { get; } = [];

    public int First { get; private set; } = int.MaxValue;

    public int Last { get; private set; } = -1;

    public long Offset { get; set; }

    /// <summary>Extends the time during which the contents matter.</summary>
    public void Touch(int from, int to)
    {
        First = Math.Min(First, from);
        Last = Math.Max(Last, Math.Max(from, to));
    }
}
