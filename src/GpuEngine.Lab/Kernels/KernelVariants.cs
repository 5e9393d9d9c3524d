using GpuEngine.Core.Devices;
using GpuEngine.Core.Graph;
using GpuEngine.Core.Plan;
using GpuEngine.Core.Verification;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Launchers;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab.Kernels;

/// <summary>Samples of an op in one dtype that a device runs with kernels of one variant.</summary>
/// <param name="Variant">The variant; null for what the launchers choose by themselves.</param>
/// <param name="Device">A device that plans it.</param>
/// <param name="Samples">Samples for which it plans something that no variant before it does.</param>
public sealed record VariantSamples(string? Variant, IDevice Device, IReadOnlyList<OpSample> Samples);

/// <summary>The ways in which a device can run an op: the launchers' own choice and every variant that they can be held to.</summary>
public sealed class KernelVariants(IDevice device) : IDisposable
{
    private readonly Dictionary<string, CudaDevice> _held = [];

    /// <summary>The own choice with all samples first, then variants with the samples that they make a difference for.</summary>
    public IReadOnlyList<VariantSamples> Of(OpSpec spec, DType dtype)
    {
        List<VariantSamples> all = [new(null, device, spec.Samples)];
        if (device is not CudaDevice cuda) return all;
        var seen = spec.Samples.Select(s => new HashSet<string> { Decision(cuda, spec, s, dtype) }).ToArray();
        var names = spec.Samples.SelectMany(s => Plan(spec, s, dtype, device).Launches).SelectMany(l => LauncherChoices.Of(l.Node, cuda.Limits).Variants).Distinct().ToArray();
        foreach (var name in names)
        {
            var held = Held(cuda, name);
            var samples = spec.Samples.Where((s, i) => seen[i].Add(Decision(held, spec, s, dtype))).ToArray();
            if (samples.Length > 0) all.Add(new VariantSamples(name, held, samples));
        }

        return all;
    }

    /// <summary>Compiles everything that the samples need, on all cores; what fails is left for whoever needs it.</summary>
    public void Compile(IEnumerable<OpSpec> ops, IReadOnlyList<DType> dtypes)
    {
        if (device is not CudaDevice cuda) return;
        try
        {
            cuda.Library.Compile(
                from spec in ops
                from dtype in dtypes
                from variant in Of(spec, dtype)
                from sample in variant.Samples
                from launch in Plan(spec, sample, dtype, variant.Device).Launches
                from request in CudaKernels.Create(launch.Node, ((CudaDevice)variant.Device).Limits)!.Requests
                select request);
        }
        catch (KernelCompileException)
        {
            // The row that needs the kernel will say so.
        }
    }

    public void Dispose()
    {
        foreach (var held in _held.Values) held.Dispose();
        _held.Clear();
    }

    /// <summary>The plan of a sample with its gradients.</summary>
    public static ExecutionPlan Plan(OpSpec spec, OpSample sample, DType dtype, IDevice device)
    {
        var op = new OpInstance(spec, sample, dtype, spec.Differentiable);
        return Planner.Plan(new TensorProgram(spec.Name, [.. op.Outputs, .. op.Gradients]), device.Target);
    }

    private static string Decision(CudaDevice device, OpSpec spec, OpSample sample, DType dtype) =>
        string.Join(" | ", Plan(spec, sample, dtype, device).Launches.Select(l => CudaKernels.Create(l.Node, device.Limits)!.Decision));

    private CudaDevice Held(CudaDevice cuda, string variant)
    {
        if (!_held.TryGetValue(variant, out var held))
            _held[variant] = held = new CudaDevice(cuda.Context.Properties.Ordinal, cuda.Options with { Variant = variant });
        return held;
    }
}
