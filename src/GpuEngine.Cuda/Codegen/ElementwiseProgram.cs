using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// One operation of a program. Operands count the inputs first, then the earlier steps; the op's own broadcasting is not
/// looked at: every operand is read at the place of the output element.
/// </summary>
public readonly record struct ElementwiseStep(Op Op, Ints Operands, DType DType);

/// <summary>
/// A straight line of element-wise operations from some inputs to one output: what one generated kernel computes per element.
/// Programs compare by value, so equal ones share a kernel.
/// </summary>
public sealed class ElementwiseProgram : IEquatable<ElementwiseProgram>
{
    public ElementwiseProgram(IReadOnlyList<DType> inputs, IReadOnlyList<ElementwiseStep> steps)
    {
        Inputs = inputs;
        Steps = steps;
    }

    /// <summary>The dtype of each input.</summary>
    public IReadOnlyList<DType> Inputs { get; }

    /// <summary>The steps in order; the last is the output. Without steps the first input is copied.</summary>
    public IReadOnlyList<ElementwiseStep> Steps { get; }

    public DType Output => Steps.Count > 0 ? Steps[^1].DType : Inputs[0];

    /// <summary>Ops that a program may hold as steps.</summary>
    public static bool IsStep(Op op) => op is UnaryOp or BinaryOp or CompareOp or WhereOp or CastOp or BroadcastToOp;

    /// <summary>The program of a single element-wise node.</summary>
    public static ElementwiseProgram Of(Node node)
    {
        var inputs = node.Inputs.Select(t => t.DType).ToArray();
        var step = new ElementwiseStep(node.Op, Ints.Range(0, inputs.Length), node.Outputs[0].DType);
        return new ElementwiseProgram(inputs, node.Op is BroadcastToOp ? [] : [step]);
    }

    /// <summary>The program that writes one value everywhere.</summary>
    public static ElementwiseProgram Constant(double value, DType dtype) => new([], [ConstantStep(value, dtype)]);

    /// <summary>The step that stands for a constant: of no shape, so that equal values are equal steps.</summary>
    public static ElementwiseStep ConstantStep(double value, DType dtype) =>
        new(new ConstantOp(value, new TensorType(dtype, Shape.Scalar)), default, dtype);

    public bool Equals(ElementwiseProgram? other) =>
        other is not null && Inputs.SequenceEqual(other.Inputs) && Steps.SequenceEqual(other.Steps);

    public override bool Equals(object? obj) => Equals(obj as ElementwiseProgram);

    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (var input in Inputs) hash.Add(input);
        foreach (var step in Steps) hash.Add(step);
        return hash.ToHashCode();
    }
}
