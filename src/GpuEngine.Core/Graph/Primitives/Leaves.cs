namespace GpuEngine.Core.Graph;

/// <summary>A value without inputs.</summary>
public abstract record Leaf(TensorType Type) : Primitive
{
    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) => [Type];

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [];
}

/// <summary>A value that the caller writes before each run: a batch, a learning rate.</summary>
public sealed record InputOp(string InputName, TensorType Type) : Leaf(Type)
{
    public override string Name => "input";

    // Two inputs of the same name and type are still two inputs.
    public bool Equals(InputOp? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);
}

/// <summary>The value of a <see cref="Variable"/> at the start of the run.</summary>
public sealed record VariableOp(Variable Variable) : Leaf(Variable.Type)
{
    public override string Name => "variable";
}

/// <summary>One value in every element.</summary>
public sealed record ConstantOp(double Value, TensorType Type) : Leaf(Type)
{
    public override string Name => "full";
}

/// <summary>0, 1, 2, ... in a vector.</summary>
public sealed record IotaOp(int Length, DType DType) : Leaf(new TensorType(DType, [Length]))
{
    public override string Name => "arange";
}

/// <summary>Given values, a few at most (tables, not data).</summary>
public sealed record LiteralOp(TensorType Type) : Leaf(Type)
{
    public override string Name => "tensor";

    /// <summary>The values in row-major order, converted to the dtype when they are placed.</summary>
    public required double[] Values { get; init; }

    public bool Equals(LiteralOp? other) => other is not null && Type == other.Type && Values.AsSpan().SequenceEqual(other.Values);

    public override int GetHashCode() => HashCode.Combine(Type, Values.Length == 0 ? 0 : Values[0], Values.Length);
}
