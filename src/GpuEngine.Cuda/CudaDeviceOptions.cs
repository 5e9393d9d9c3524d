using System.Collections.Frozen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda;

/// <summary>How a <see cref="CudaDevice"/> runs plans. The defaults are what training wants.</summary>
public sealed record CudaDeviceOptions
{
    /// <summary>False runs every fused op by its decomposition.</summary>
    public bool UseFusedKernels { get; init; } = true;

    /// <summary>Whether element-wise primitives are joined into one launch where that changes nothing but the time.</summary>
    public bool FuseElementwise { get; init; } = true;

    /// <summary>Whether the launches of a plan are captured once and replayed as one graph.</summary>
    public bool UseGraphs { get; init; } = true;

    /// <summary>Whether f32 products may be rounded to TF32.</summary>
    public bool AllowTf32 { get; init; }

    /// <summary>Whether cuBLAS is used where it is installed.</summary>
    public bool UseCublas { get; init; } = true;

    /// <summary>Whether cuDNN is used where it is installed.</summary>
    public bool UseCudnn { get; init; } = true;

    /// <summary>
    /// Whether the ways to run a convolution are timed once and the fastest is kept beside the compiled kernels; null: on real devices.
    /// False takes the first in a fixed order, as the simulator does, whose clock says nothing.
    /// </summary>
    public bool? MeasureConvolutions { get; init; }

    /// <summary>The only variant that launchers may plan, for benches and tests; see <see cref="Launchers.CudaLimits.Variant"/>.</summary>
    public string? Variant { get; init; }

    /// <summary>Numbers in place of launchers' own choices; see <see cref="Launchers.CudaLimits.Tuning"/>.</summary>
    public IReadOnlyDictionary<string, int> Tuning { get; init; } = FrozenDictionary<string, int>.Empty;

    /// <summary>Waits after every launch, so that an error names its kernel; null: as GPUENGINE_SYNC_LAUNCHES says.</summary>
    public bool? SyncLaunches { get; init; }

    /// <summary>Where compiled kernels are kept; null keeps them in memory alone.</summary>
    public string? KernelCacheFolder { get; init; } = KernelCache.DefaultFolder();

    /// <summary>Told what the user should know but need not act on at once.</summary>
    public Action<string> Warn { get; init; } = static _ => { };
}
