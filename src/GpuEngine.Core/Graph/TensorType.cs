namespace GpuEngine.Core.Graph;

/// <summary>What is known of a tensor before anything runs: element type and static shape.</summary>
public readonly record struct TensorType(DType DType, Shape Shape)
{
    public long Elements => Shape.Elements;

    public long Bytes => Elements * DType.Size();

    public override string ToString() => $"{DType.Label()}{Shape}";
}
