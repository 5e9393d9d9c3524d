using GpuEngine.Core.Cpu;
using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;

namespace GpuEngine.Core.Verification;

/// <summary>The worst disagreement that a check found.</summary>
public sealed record Disagreement(string Tensor, long Index, double Expected, double Actual, double Error, double Allowed)
{
    public override string ToString() =>
        $"{Tensor}[{Index}]: expected {Expected:R}, got {Actual:R}; error {Error:E2} is {Error / Allowed:P0} of what is allowed ({Allowed:E2})";
}

/// <summary>
/// Compares analytic gradients with five-point central differences in float64. With h = 1e-4 the truncation error is of order
/// h^4 = 1e-16 and the rounding error of order 1e-16/h = 1e-12, so agreement to 1e-6 of the largest entry leaves ample room.
/// </summary>
public static class GradientCheck
{
    /// <summary>Allowed error relative to the largest gradient entry of the tensor.</summary>
    public const double RelativeTolerance = 1e-6;

    private const double Step = 1e-4;

    /// <summary>The worst entry over all differentiable inputs; it passes when Error is at most Allowed.</summary>
    public static Disagreement Worst(CpuDevice device, OpSpec spec, OpSample sample)
    {
        var op = new OpInstance(spec, sample, DType.F64, withGradients: true);
        using var loss = new Evaluation(device, [new("loss", op.Projection!)]);
        using var gradients = new Evaluation(device, op.Gradients);
        foreach (var name in op.Inputs.Keys) SetBoth(name, op.Values(name));
        gradients.Run();

        Disagreement? worst = null;
        foreach (var name in op.DifferentiableInputs)
        {
            var values = op.Values(name);
            var analytic = gradients.Get("grad_" + name);
            var numeric = Numeric(loss, name, values);
            var scale = Math.Max(numeric.Select(Math.Abs).DefaultIfEmpty(0).Max(), 1e-3);
            for (var i = 0; i < values.Length; i++)
            {
                var error = Math.Abs(analytic[i] - numeric[i]);
                if (double.IsNaN(error)) error = double.PositiveInfinity;
                var found = new Disagreement("grad_" + name, i, numeric[i], analytic[i], error, RelativeTolerance * scale);
                if (worst is null || found.Error / found.Allowed > worst.Error / worst.Allowed) worst = found;
            }
        }

        return worst ?? new Disagreement("nothing", 0, 0, 0, 0, RelativeTolerance);

        void SetBoth(string name, double[] values)
        {
            Set(loss, name, values);
            Set(gradients, name, values);
        }
    }

    private static void Set(Evaluation evaluation, string name, double[] values)
    {
        // An argument that a result does not depend on is no input of its program.
        if (evaluation.Program.Inputs.Any(t => TensorProgram.InputName(t) == name)) evaluation.Set(name, values);
    }

    private static double[] Numeric(Evaluation loss, string name, double[] values)
    {
        var result = new double[values.Length];
        if (loss.Program.Inputs.All(t => TensorProgram.InputName(t) != name)) return result;
        for (var i = 0; i < values.Length; i++)
        {
            double At(double shift)
            {
                var shifted = (double[])values.Clone();
                shifted[i] += shift;
                loss.Set(name, shifted);
                loss.Run();
                return loss.Get("loss")[0];
            }

            result[i] = (8 * (At(Step) - At(-Step)) - (At(2 * Step) - At(-2 * Step))) / (12 * Step);
        }

        loss.Set(name, values);
        return result;
    }
}
