using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Verification;
using GpuEngine.Lab.Kernels;

namespace GpuEngine.Lab.Hardware;

/// <summary>One op, one dtype, all samples: the worst disagreement with float64.</summary>
/// <param name="Op">The op's name.</param>
/// <param name="Dtype">The dtype under test.</param>
/// <param name="Samples">Samples compared, forward and backward.</param>
/// <param name="Worst">The worst entry of all.</param>
/// <param name="Failure">Why nothing could be compared, or null.</param>
public sealed record KernelCheckRow(string Op, DType Dtype, int Samples, Disagreement? Worst, string? Failure)
{
    /// <summary>The variant that the launchers were held to; null for their own choice.</summary>
    public string? Variant { get; init; }

    public bool Passed => Failure is null && Worst is { } worst && worst.Error <= worst.Allowed;

    /// <summary>Share of the allowance that the worst entry used.</summary>
    public double Share => Worst is { Allowed: > 0 } worst ? worst.Error / worst.Allowed : double.PositiveInfinity;
}

/// <summary>Compares every op of the catalog on a device with its decomposition in float64 on the CPU.</summary>
public static class KernelCheck
{
    /// <summary>Rows as they are found, so that a long check shows where it is: each op and dtype, then its variants.</summary>
    public static IEnumerable<KernelCheckRow> Run(KernelVariants variants, IReadOnlyList<OpSpec> ops, IReadOnlyList<DType> dtypes)
    {
        variants.Compile(ops, dtypes);
        foreach (var spec in ops)
        {
            foreach (var dtype in dtypes)
            {
                foreach (var way in variants.Of(spec, dtype)) yield return Check(way.Device, spec, way.Samples, dtype) with { Variant = way.Variant };
            }
        }
    }

    private static KernelCheckRow Check(IDevice device, OpSpec spec, IReadOnlyList<OpSample> samples, DType dtype)
    {
        Disagreement? worst = null;
        try
        {
            foreach (var sample in samples)
            {
                var found = OracleCheck.Worst(device, spec, sample, dtype, withGradients: true);
                if (worst is null || found.Error / found.Allowed > worst.Error / worst.Allowed) worst = found;
            }

            return new KernelCheckRow(spec.Name, dtype, samples.Count, worst, null);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A kernel that cannot be compiled or launched is a finding like any other; the check goes on to the next one.
            return new KernelCheckRow(spec.Name, dtype, samples.Count, worst, $"{e.GetType().Name}: {e.Message.Split('\n')[0]}");
        }
    }
}
