using GpuEngine.Core.Graph;

namespace GpuEngine.Nn.Layers;

/// <summary>[N, ...] to [N, features].</summary>
public sealed class Flatten : Module
{
    public override Tensor Forward(Tensor input, Trace trace) =>
        F.Reshape(input, [input.Shape[0], checked((int)input.Shape.Product(1, input.Rank))]);

    public override string ToString() => "flatten";
}
