namespace GpuEngine.Core.Graph;

/// <summary>
/// An operation with its attributes. Ops are records: two with equal attributes are equal, which is what common
/// subexpression elimination and kernel caches compare.
/// </summary>
public abstract record Op
{
    /// <summary>torch's name where torch has the op.</summary>
    public abstract string Name { get; }

    /// <summary>The shape rule: output types from input types.</summary>
    /// <exception cref="ShapeException">The inputs do not fit.</exception>
    public abstract TensorType[] Infer(IReadOnlyList<TensorType> inputs);

    /// <summary>
    /// The vector-Jacobian product as more graph: from the gradients of the outputs (null where nothing flows) to the
    /// gradients of the inputs (null where none exists, e.g. for integer inputs).
    /// </summary>
    public abstract Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients);

    /// <summary>Exact bytes and flops of one launch.</summary>
    public virtual Cost Cost(Node node) => Graph.Cost.Streaming(node, node.Outputs.Sum(t => t.Type.Elements));

    /// <summary>
    /// The input whose storage the given output may take over when nobody reads that input afterwards, or -1. True of ops
    /// that read element i before they write element i.
    /// </summary>
    public virtual int InPlaceInput(int output) => -1;

    /// <summary>Records one application of this op.</summary>
    public Node Apply(params Tensor[] inputs) => new(this, inputs);

    protected static ShapeException Mismatch(string op, string expected, IReadOnlyList<TensorType> inputs) =>
        new($"{op}: expected {expected}, but got {string.Join(", ", inputs)}.");
}

/// <summary>One of the few ops that are not defined by other ops and that every device must run.</summary>
public abstract record Primitive : Op;

/// <summary>
/// An op defined by a decomposition into primitives (and other fused ops): its executable specification. A device may run
/// it with one kernel; where it does not, the decomposition runs. The gradient is by default that of the decomposition.
/// </summary>
public abstract record FusedOp : Op
{
    /// <summary>The same outputs from simpler ops.</summary>
    public abstract Tensor[] Decompose(IReadOnlyList<Tensor> inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) =>
        Autodiff.ThroughDecomposition(this, node, outputGradients);
}
