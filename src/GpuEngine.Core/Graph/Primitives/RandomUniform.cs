namespace GpuEngine.Core.Graph;

/// <summary>
/// Uniform numbers in [0, 1) from Philox4x32-10. The input is an i64 vector (seed, offset) in device memory, so that a replayed
/// step draws fresh numbers; <paramref name="Stream"/> tells one consumer from another. Element i is word i mod 4 of the block
/// with counter (i/4, stream, offset): the same bits on every device. f32 uses 24 bits; other float types are converted from it.
/// </summary>
public sealed record RandomUniformOp(Shape To, DType DType, int Stream) : Primitive
{
    public override string Name => "rand";

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs) =>
        inputs[0] == new TensorType(DType.I64, [2]) && DType.IsFloat()
            ? [new TensorType(DType, To)]
            : throw Mismatch(Name, "the generator's state i64[2] (seed, offset)", inputs);

    public override Tensor?[] Gradient(Node node, IReadOnlyList<Tensor?> outputGradients) => [null];
}
