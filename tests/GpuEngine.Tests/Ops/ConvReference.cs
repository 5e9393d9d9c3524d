using GpuEngine.Core.Graph;

namespace GpuEngine.Tests.Ops;

/// <summary>Convolution and its gradients by their definition, in double: the reference that shares no code with the kernels.</summary>
internal sealed class ConvReference(ConvGeometry geometry, int[] x, int[] w, int[] y)
{
    public double[] Forward(double[] input, double[] weight)
    {
        var output = new double[y.Aggregate(1, (a, b) => a * b)];
        Visit((xi, wi, yi) => output[yi] += input[xi] * weight[wi]);
        return output;
    }

    public double[] Input(double[] gradient, double[] weight)
    {
        var output = new double[x.Aggregate(1, (a, b) => a * b)];
        Visit((xi, wi, yi) => output[xi] += gradient[yi] * weight[wi]);
        return output;
    }

    public double[] Weight(double[] gradient, double[] input)
    {
        var output = new double[w.Aggregate(1, (a, b) => a * b)];
        Visit((xi, wi, yi) => output[wi] += gradient[yi] * input[xi]);
        return output;
    }

    /// <summary>Every product of the convolution, by the indices of its three elements.</summary>
    private void Visit(Action<int, int, int> product)
    {
        var perGroup = w[0] / geometry.Groups;
        for (var n = 0; n < y[0]; n++)
        for (var k = 0; k < y[1]; k++)
        for (var p = 0; p < y[2]; p++)
        for (var q = 0; q < y[3]; q++)
        for (var c = 0; c < w[1]; c++)
        for (var r = 0; r < w[2]; r++)
        for (var s = 0; s < w[3]; s++)
        {
            var row = p * geometry.Stride[0] + r * geometry.Dilation[0] - geometry.Padding[0];
            var column = q * geometry.Stride[1] + s * geometry.Dilation[1] - geometry.Padding[1];
            if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
            var channel = k / perGroup * w[1] + c;
            product(
                ((n * x[1] + channel) * x[2] + row) * x[3] + column,
                ((k * w[1] + c) * w[2] + r) * w[3] + s,
                ((n * y[1] + k) * y[2] + p) * y[3] + q);
        }
    }
}
