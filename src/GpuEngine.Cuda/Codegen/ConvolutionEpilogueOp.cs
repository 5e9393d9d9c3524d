using GpuEngine.Core.Graph;

namespace GpuEngine.Cuda.Codegen;

/// <summary>
/// A convolution with what follows it: y = relu(conv(x, w) + bias + residual). Inputs x, w, bias [K] and, with
/// <paramref name="Residual"/>, a tensor of y's type; layouts as in <see cref="ConvolutionOp"/> or <see cref="ConvolutionNhwcOp"/>.
/// </summary>
internal sealed record ConvolutionEpilogueOp(ConvGeometry Geometry, bool ChannelsLast, bool Residual, bool Relu) : FusedOp
{
    public override string Name => "convolution_bias" + (Residual ? "_add" : "") + (Relu ? "_relu" : "");

    /// <summary>The convolution alone.</summary>
    public Op Alone => ChannelsLast ? new ConvolutionNhwcOp(Geometry) : new ConvolutionOp(Geometry);

    public override TensorType[] Infer(IReadOnlyList<TensorType> inputs)
    {
        var y = Alone.Infer([inputs[0], inputs[1]])[0];
        if (inputs[2] != new TensorType(y.DType, [inputs[1].Shape[0]])) throw Mismatch(Name, "a bias with one element per filter", inputs);
        if (Residual && inputs[3] != y) throw Mismatch(Name, "a residual of the result's type", inputs);
        return [y];
    }

    public override Tensor[] Decompose(IReadOnlyList<Tensor> inputs)
    {
        var y = Alone.Apply(inputs[0], inputs[1]).Outputs[0];
        Shape column = ChannelsLast ? [1, 1, 1, y.Shape[3]] : [1, y.Shape[1], 1, 1];
        y += F.Reshape(inputs[2], column);
        if (Residual) y += inputs[3];
        return [Relu ? new Relu().Define(y) : y];
    }

    public override Cost Cost(Node node) => Core.Graph.Cost.Streaming(
        node, ConvGeometry.Flops(node.Outputs[0].Shape, node.Inputs[1].Shape) + (Residual ? 2 : 1) * node.Outputs[0].Type.Elements);
}
