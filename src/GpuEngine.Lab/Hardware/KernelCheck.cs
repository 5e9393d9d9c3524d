using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Core.Verification;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab.Hardware;

/// <summary>One op, one dtype, all samples: the worst disagreement with float64.</summary>
/// <param name="Op">The op's name.</param>
/// <param name="Dtype">The dtype under test.</param>
/// <param name="Samples">Samples compared, forward and backward.</param>
/// <param name="Worst">The worst entry of all.</param>
/// <param name="Failure">Why nothing could be compared, or null.</param>
public sealed record KernelCheckRow(string Op, DType Dtype, int Samples, Disagreement? Worst, string? Failure)
{
    public bool Passed => Failure is null && Worst is { } worst && worst.Error <= worst.Allowed;

    /// <summary>Share of the allowance that the worst entry used.</summary>
    public double Share => Worst is { Allowed: > 0 } worst ? worst.Error / worst.Allowed : double.PositiveInfinity;
}

/// <summary>Compares every op of the catalog on a device with its decomposition in float64 on the CPU.</summary>
public static class KernelCheck
{
    /// <summary>Rows as they are found, so that a long check shows where it is.</summary>
    public static IEnumerable<KernelCheckRow> Run(IDevice device, IReadOnlyList<OpSpec> ops, IReadOnlyList<DType> dtypes)
    {
        if (device is CudaDevice cuda) Compile(cuda, ops, dtypes);
        foreach (var spec in ops)
        {
            foreach (var dtype in dtypes) yield return Check(device, spec, dtype);
        }
    }

    /// <summary>Everything that the check will need, on all cores.</summary>
    private static void Compile(CudaDevice device, IReadOnlyList<OpSpec> ops, IReadOnlyList<DType> dtypes)
    {
        try
        {
            device.Compile(ops.SelectMany(spec => spec.Samples.SelectMany(sample => dtypes.Select(dtype =>
            {
                var op = new OpInstance(spec, sample, dtype, spec.Differentiable);
                return Planner.Plan(new TensorProgram(spec.Name, [.. op.Outputs, .. op.Gradients]), device.Target);
            }))));
        }
        catch (KernelCompileException)
        {
            // The row that needs the kernel will say so.
        }
    }

    private static KernelCheckRow Check(IDevice device, OpSpec spec, DType dtype)
    {
        Disagreement? worst = null;
        try
        {
            foreach (var sample in spec.Samples)
            {
                var found = OracleCheck.Worst(device, spec, sample, dtype, withGradients: true);
                if (worst is null || found.Error / found.Allowed > worst.Error / worst.Allowed) worst = found;
            }

            return new KernelCheckRow(spec.Name, dtype, spec.Samples.Count, worst, null);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A kernel that cannot be compiled or launched is a finding like any other; the check goes on to the next one.
            return new KernelCheckRow(spec.Name, dtype, spec.Samples.Count, worst, $"{e.GetType().Name}: {e.Message.Split('\n')[0]}");
        }
    }
}
