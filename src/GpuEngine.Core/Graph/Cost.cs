namespace GpuEngine.Core.Graph;

/// <summary>
/// What one launch of an op must move and compute: bytes read and written in device memory when each input is read once
/// and each output written once, and floating-point operations (a fused multiply-add counts two, a transcendental one).
/// </summary>
public readonly record struct Cost(long BytesRead, long BytesWritten, long Flops)
{
    public long Bytes => BytesRead + BytesWritten;

    public static Cost operator +(Cost a, Cost b) =>
        new(a.BytesRead + b.BytesRead, a.BytesWritten + b.BytesWritten, a.Flops + b.Flops);

    /// <summary>Each input read once, each output written once, a given number of flops.</summary>
    public static Cost Streaming(Node node, long flops) =>
        new(node.Inputs.Sum(t => t.Type.Bytes), node.Outputs.Sum(t => t.Type.Bytes), flops);
}
