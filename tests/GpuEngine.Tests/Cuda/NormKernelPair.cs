using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;
using Xunit;

namespace GpuEngine.Tests.Cuda;

/// <summary>
/// A norm of rows and its gradient, run by the kernels that certain limits lead to and by the naive ones, on the same device and in the
/// same dtype.
/// </summary>
internal static class NormKernelPair
{
    /// <summary>
    /// Both work in f32: sums of up to 20000 numbers in another order differ by a few roundings of the largest result. In bf16 one
    /// result in some hundreds is rounded to the other neighbour, 2^-8 of it away; dz is rounded once more.
    /// </summary>
    private static readonly Dictionary<DType, double> Tolerance = new() { [DType.F32] = 2e-5, [DType.BF16] = 1.01 / 128 };

    /// <summary>Few multiprocessors, so that blocks take several sets of rows; numbers like "lanes=64 stages=1".</summary>
    public static CudaLimits Limits(string tuning, string? variant = null) => new()
    {
        Multiprocessors = 2,
        Variant = variant,
        Tuning = tuning.Split(' ', StringSplitOptions.RemoveEmptyEntries).ToDictionary(t => t.Split('=')[0], t => int.Parse(t.Split('=')[1], null)),
    };

    /// <summary>Compares both directions; returns the entries that were run first in each.</summary>
    public static (string Forward, string Backward) Compare(DeviceUnderTest under, Tensor y, CudaLimits limits)
    {
        var random = new System.Random(3);
        var x = y.Node.Inputs[0];
        double[][] inputs = [.. y.Node.Inputs.Select(t => Values(random, t))];
        var (first, forward) = Compare(under, y.Node, limits, inputs);

        var dy = F.Input("dy", x.DType, x.Shape);
        var gradient = Traversal.Ancestors([Autodiff.VectorJacobian([y], [dy], [x])[0]!]).Single(n => n.Op is RowNormBackwardOp);
        double[][] more =
        [
            .. gradient.Inputs.Select(t => t == dy ? Values(random, t) : t.Node == y.Node ? forward[t.Index] : inputs[y.Node.Inputs.ToList().IndexOf(t)]),
        ];
        var (second, _) = Compare(under, gradient, limits, more);
        under.AssertNothingFound();
        return (first, second);
    }

    /// <summary>In [-1, 3), as the dtype holds it: a mean that is not small beside the deviations.</summary>
    public static double[] Values(System.Random random, Tensor t) =>
        ElementData.ToDoubles(t.DType, ElementData.FromDoubles(t.DType, [.. Enumerable.Range(0, (int)t.Type.Elements).Select(_ => 4 * random.NextDouble() - 1)]));

    private static (string Entry, double[][] Outputs) Compare(DeviceUnderTest under, Node node, CudaLimits limits, double[][] inputs)
    {
        var fast = (PlannedKernel)CudaKernels.Create(node, limits)!;
        var naive = CudaKernels.Create(node, limits with { Variant = "naive" })!;
        Assert.NotEqual(fast.Requests[0].Entry, naive.Requests[0].Entry);
        var (actual, expected) = (KernelRun.Outputs(under.Shared, fast, inputs), KernelRun.Outputs(under.Shared, naive, inputs));
        for (var k = 0; k < expected.Length; k++)
        {
            var largest = Math.Max(expected[k].Max(Math.Abs), 1e-3);
            for (var i = 0; i < expected[k].Length; i++)
            {
                Assert.True(
                    Math.Abs(actual[k][i] - expected[k][i]) <= Tolerance[node.Inputs[0].DType] * largest,
                    $"{node.Op.Name} in {node.Inputs[0].DType}, output {k}[{i}]: {actual[k][i]} instead of {expected[k][i]} ({fast.Steps[0].Shape})");
            }
        }

        return (fast.Requests[0].Entry, expected);
    }
}
