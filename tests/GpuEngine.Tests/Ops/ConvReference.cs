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
        for (var yi = 0; yi < y.Aggregate(1, (a, b) => a * b); yi++)
        {
            var (n, k, p, q) = (yi / (y[1] * y[2] * y[3]), yi / (y[2] * y[3]) % y[1], yi / y[3] % y[2], yi % y[3]);
            for (var tap = 0; tap < w[1] * w[2] * w[3]; tap++)
            {
                var (c, r, s) = (tap / (w[2] * w[3]), tap / w[3] % w[2], tap % w[3]);
                var row = p * geometry.Stride[0] + r * geometry.Dilation[0] - geometry.Padding[0];
                var column = q * geometry.Stride[1] + s * geometry.Dilation[1] - geometry.Padding[1];
                if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
                var channel = k / perGroup * w[1] + c;
                product(((n * x[1] + channel) * x[2] + row) * x[3] + column, k * w[1] * w[2] * w[3] + tap, yi);
            }
        }
    }
}
