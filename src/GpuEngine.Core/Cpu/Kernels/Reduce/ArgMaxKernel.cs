using System.Numerics;
using GpuEngine.Core.Graph;

namespace GpuEngine.Core.Cpu.Kernels;

/// <summary>The first maximum of each row; a NaN counts as larger than everything, as in torch.</summary>
internal sealed unsafe class ArgMaxKernel<T>(Node node) : CpuKernel where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly int _width = node.Inputs[0].Shape[^1];
    private readonly long _rows = node.Outputs[0].Type.Elements;

    protected override bool IsParallel => _rows * _width >= 65536;

    public override void Execute(int worker, int workers)
    {
        var (start, end) = Share(_rows, worker, workers);
        for (var row = start; row < end; row++)
        {
            var x = In<T>(0) + row * _width;
            var best = 0;
            for (var i = 1; i < _width && !T.IsNaN(x[best]); i++)
            {
                if (x[i] > x[best] || T.IsNaN(x[i])) best = i;
            }

            Out<int>(0)[row] = best;
        }
    }
}
