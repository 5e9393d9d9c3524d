using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Verification;

/// <summary>
/// Compares what a device computes (fused kernels, in a dtype) with the decomposition on the CPU in float64. The allowance is
/// flash-attention's rule: twice the worst error that the plain computation (the decomposition, primitive by primitive, in the
/// same dtype) makes on that tensor, plus a floor of 16 roundings of the tensor's largest value: processors' own rsqrt, exp and
/// division err by up to two units each, and a fused kernel applies several. In f64 the truth has no more digits than the kernel,
/// so sums that cancel differ by their order alone; 1e-12 is far below what any wrong formula would give.
/// </summary>
public static class OracleCheck
{
    /// <summary>The worst entry over all outputs and gradients; it passes when Error is at most Allowed.</summary>
    public static Disagreement Worst(IDevice device, OpSpec spec, OpSample sample, DType dtype, bool withGradients)
    {
        using var plainDevice = new CpuDevice(1, useFusedKernels: false);
        var truth = Compute(plainDevice, spec, sample, DType.F64, dtype, withGradients);
        var plain = Compute(plainDevice, spec, sample, dtype, dtype, withGradients);
        var actual = Compute(device, spec, sample, dtype, dtype, withGradients);
        Disagreement? worst = null;
        foreach (var (name, expected) in truth)
        {
            var plainError = Enumerable.Range(0, expected.Length).Select(i => Error(expected[i], plain[name][i])).DefaultIfEmpty(0).Max();
            var largest = expected.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty(0).Max();
            var allowed = 2 * plainError + 16 * Epsilon(dtype) * Math.Max(largest, 1e-3);
            if (dtype == DType.F64) allowed = Math.Max(allowed, 1e-12 * Math.Max(largest, 1));
            for (var i = 0; i < expected.Length; i++)
            {
                var found = new Disagreement(name, i, expected[i], actual[name][i], Error(expected[i], actual[name][i]), allowed);
                if (worst is null || found.Error / found.Allowed > worst.Error / worst.Allowed) worst = found;
            }
        }

        return worst ?? new Disagreement("nothing", 0, 0, 0, 0, 1);
    }

    /// <summary>Unit roundoff of a dtype.</summary>
    public static double Epsilon(DType dtype) => dtype switch
    {
        DType.BF16 => Math.Pow(2, -9),
        DType.F32 => Math.Pow(2, -24),
        _ => Math.Pow(2, -53),
    };

    private static double Error(double expected, double actual) =>
        expected.Equals(actual) ? 0 : double.IsFinite(expected - actual) ? Math.Abs(expected - actual) : double.PositiveInfinity;

    private static Dictionary<string, double[]> Compute(IDevice device, OpSpec spec, OpSample sample, DType dtype, DType valuesIn, bool withGradients)
    {
        var op = new OpInstance(spec, sample, dtype, withGradients && spec.Differentiable);
        using var evaluation = new Evaluation(device, [.. op.Outputs, .. op.Gradients]);
        foreach (var input in evaluation.Program.Inputs.Select(TensorProgram.InputName))
        {
            // Every run sees the same numbers: those that the dtype under test can hold.
            var values = op.Values(input);
            if (op.Inputs[input].DType.IsFloat()) values = ElementData.ToDoubles(valuesIn, ElementData.FromDoubles(valuesIn, values));
            evaluation.Set(input, values);
        }

        evaluation.Run();
        return evaluation.Program.Outputs.ToDictionary(o => o.Name, o => evaluation.Get(o.Name));
    }
}
