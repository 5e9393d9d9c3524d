using GpuEngine.Core.Graph;
using GpuEngine.Nn.Initializers;

namespace GpuEngine.Nn.Layers;

/// <summary>
/// A convolution of [N, C, H, W] whose output channels see chosen input channels only (the table of layer C3 in LeCun et al.
/// 1998). Only connections that exist have weights: weight [connections, kernel, kernel], bias [out]. It runs as a dense
/// convolution whose missing kernels are zero.
/// </summary>
public sealed class PartialConv2d : Module
{
    private readonly int _inChannels;
    private readonly int _kernel;
    private readonly int[][] _table;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    /// <param name="inChannels">Channels of the input.</param>
    /// <param name="kernel">Extent of the kernel in both directions.</param>
    /// <param name="table">For each output channel the input channels that it sees.</param>
    /// <param name="init">How the weights start.</param>
    /// <exception cref="ArgumentException">The table names a channel that the input has not.</exception>
    public PartialConv2d(int inChannels, int kernel, int[][] table, Initializer init)
    {
        if (table.Any(row => row.Any(c => c < 0 || c >= inChannels))) throw new ArgumentException($"The table names channels outside 0 to {inChannels - 1}.");
        (_inChannels, _kernel, _table) = (inChannels, kernel, table);
        _weight = Learn(new Parameter("weight", [table.Sum(row => row.Length), kernel, kernel], init));
        _bias = Learn(new Parameter("bias", [table.Length], new Constant(0)));
    }

    public override Tensor Forward(Tensor input, Trace trace)
    {
        double[] places = [.. _table.SelectMany((row, k) => row.Select(c => (double)(k * _inChannels + c)))];
        var index = F.Literal([places.Length], DType.I64, places);
        var kernels = F.Reshape(trace[_weight], [places.Length, _kernel * _kernel]);
        var dense = F.Reshape(F.ScatterRows(kernels, index, _table.Length * _inChannels), [_table.Length, _inChannels, _kernel, _kernel]);
        return trace.Produced(_weight, F.Conv2d(input, dense, trace[_bias]));
    }

    public override string ToString() => $"conv2d {_inChannels} -> {_table.Length}, {_kernel}x{_kernel}, by a table";
}
