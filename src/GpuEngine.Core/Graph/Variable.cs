namespace GpuEngine.Core.Graph;

/// <summary>The arenas that device memory is accounted in.</summary>
public enum MemoryClass
{
    /// <summary>Parameters and buffers such as running statistics.</summary>
    Weights,
    Gradients,

    /// <summary>Moments and other state of the optimizer.</summary>
    Optimizer,

    /// <summary>Values between launches: activations and their gradients.</summary>
    Activations,

    /// <summary>Scratch of one launch.</summary>
    Workspace,

    /// <summary>The batch, the per-step scalars (learning rate, step, RNG offset), constants, and the results of a run.</summary>
    Inputs,
}

/// <summary>
/// State that outlives a run of a program: parameters, running statistics, moments, counters. Programs read it through
/// <see cref="Value"/> and replace it through its updates.
/// </summary>
public sealed class Variable
{
    public Variable(string name, DType dtype, Shape shape, MemoryClass memoryClass)
    {
        Name = name;
        Type = new TensorType(dtype, shape);
        MemoryClass = memoryClass;
        Value = new VariableOp(this).Apply().Outputs[0];
    }

    public string Name { get; }

    public TensorType Type { get; }

    public MemoryClass MemoryClass { get; }

    /// <summary>The variable's value at the start of a run.</summary>
    public Tensor Value { get; }

    public override string ToString() => $"{Name}:{Type}";
}
