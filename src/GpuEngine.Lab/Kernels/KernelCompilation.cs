using System.Diagnostics;
using GpuEngine.Cuda;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Lab.Kernels;

/// <summary>One entry with one set of compile-time constants, compiled.</summary>
/// <param name="Kernel">The entry.</param>
/// <param name="Variant">The constants.</param>
/// <param name="Seconds">What NVRTC took; entries of one file with the same constants share one compilation. Null when it was not asked.</param>
/// <param name="Passed">Whether every compiler took it.</param>
/// <param name="Log">Errors and warnings of all compilers.</param>
/// <param name="Ptx">What the PTX gate made; empty where there is none.</param>
public sealed record CompiledVariant(CatalogKernel Kernel, KernelVariant Variant, double? Seconds, bool Passed, string Log, IReadOnlyList<PtxResult> Ptx);

/// <summary>Compiles catalog entries afresh, past every cache.</summary>
public static class KernelCompilation
{
    /// <summary>All variants of the entries, on all cores, in the catalog's order.</summary>
    /// <param name="kernels">What to compile.</param>
    /// <param name="device">Whose NVRTC and architecture; null leaves NVRTC out.</param>
    /// <param name="gate">Whether to ask clang's NVPTX as well.</param>
    public static IReadOnlyList<CompiledVariant> Run(IReadOnlyList<CatalogKernel> kernels, CudaDevice? device, bool gate)
    {
        var work = kernels.SelectMany(k => k.Variants.Select(v => (Kernel: k, Variant: v, Request: k.Request(v)))).ToArray();
        var images = work.Select(w => w.Request).DistinctBy(r => r.ImageKey).ToArray();
        var nvrtc = device is null ? null : new NvrtcCompiler();
        var architecture = nvrtc?.TargetFor(device!.Context.Properties);
        var results = new (double? Seconds, bool Passed, string Log, IReadOnlyList<PtxResult> Ptx)[images.Length];
        Parallel.For(0, images.Length, i => results[i] = Compile(images[i], nvrtc, architecture, gate));
        var byImage = images.Zip(results).ToDictionary(p => p.First.ImageKey, p => p.Second);
        return
        [
            .. work.Select(w =>
            {
                var r = byImage[w.Request.ImageKey];
                return new CompiledVariant(w.Kernel, w.Variant, r.Seconds, r.Passed, r.Log, r.Ptx);
            }),
        ];
    }

    private static (double? Seconds, bool Passed, string Log, IReadOnlyList<PtxResult> Ptx) Compile(
        Cuda.Launchers.KernelRequest request, NvrtcCompiler? nvrtc, string? architecture, bool gate)
    {
        var (passed, seconds) = (true, (double?)null);
        var log = new List<string>();
        if (nvrtc is not null)
        {
            var start = Stopwatch.GetTimestamp();
            try
            {
                var source = new KernelSource(request.Source, KernelSources.Text(request.Source), KernelSources.Headers);
                log.Add(nvrtc.Compile(source, request.Options.ToArguments(architecture!), architecture!).Log);
            }
            catch (KernelCompileException exception)
            {
                passed = false;
                log.Add(exception.Message);
            }

            seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        var ptx = gate ? PtxGate.Compile(request) : [];
        log.AddRange(ptx.Select(p => p.Log));
        return (seconds, passed && ptx.All(p => p.Ptx is not null), string.Join('\n', log.Where(l => l.Length > 0)), ptx);
    }
}
