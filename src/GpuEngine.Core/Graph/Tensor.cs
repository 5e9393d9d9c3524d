namespace GpuEngine.Core.Graph;

/// <summary>
/// A value in the graph: one output of a node. It holds no data; a plan gives it storage and a device gives it values.
/// </summary>
public sealed class Tensor
{
    internal Tensor(Node node, int index, TensorType type)
    {
        Node = node;
        Index = index;
        Type = type;
    }

    /// <summary>The node that computes this value.</summary>
    public Node Node { get; }

    /// <summary>Which of the node's outputs this is.</summary>
    public int Index { get; }

    public TensorType Type { get; }

    public DType DType => Type.DType;

    public Shape Shape => Type.Shape;

    public int Rank => Shape.Rank;

    public static Tensor operator +(Tensor a, Tensor b) => F.Add(a, b);

    public static Tensor operator -(Tensor a, Tensor b) => F.Sub(a, b);

    public static Tensor operator *(Tensor a, Tensor b) => F.Mul(a, b);

    public static Tensor operator /(Tensor a, Tensor b) => F.Div(a, b);

    public static Tensor operator -(Tensor a) => F.Neg(a);

    public static Tensor operator +(Tensor a, double b) => F.Add(a, F.Scalar(b, a.DType));

    public static Tensor operator +(double a, Tensor b) => F.Add(F.Scalar(a, b.DType), b);

    public static Tensor operator -(Tensor a, double b) => F.Sub(a, F.Scalar(b, a.DType));

    public static Tensor operator -(double a, Tensor b) => F.Sub(F.Scalar(a, b.DType), b);

    public static Tensor operator *(Tensor a, double b) => F.Mul(a, F.Scalar(b, a.DType));

    public static Tensor operator *(double a, Tensor b) => F.Mul(F.Scalar(a, b.DType), b);

    public static Tensor operator /(Tensor a, double b) => F.Div(a, F.Scalar(b, a.DType));

    public static Tensor operator /(double a, Tensor b) => F.Div(F.Scalar(a, b.DType), b);

    public override string ToString() => $"{Node.Op.Name}#{Node.Id}.{Index}:{Type}";
}
