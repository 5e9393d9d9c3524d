using System.Collections.Frozen;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>
/// What a launcher plans with: the device's sizes, as plain numbers, so that planning is pure and is tested without a GPU.
/// </summary>
public sealed record CudaLimits
{
    /// <summary>Ten times the major compute capability plus the minor one: 90 for sm_90.</summary>
    public int Architecture { get; init; } = 90;

    public int Multiprocessors { get; init; } = 132;

    public int ThreadsPerMultiprocessor { get; init; } = 2048;

    public int ThreadsPerBlock { get; init; } = 1024;

    /// <summary>Shared memory of a block without asking for more.</summary>
    public int SharedBytesPerBlock { get; init; } = 48 * 1024;

    /// <summary>Shared memory of a block whose kernel asks for it.</summary>
    public int SharedBytesPerBlockOptIn { get; init; } = 227 * 1024;

    public long L2Bytes { get; init; } = 50L << 20;

    public bool SupportsClusters { get; init; } = true;

    public bool SupportsCooperativeLaunch { get; init; } = true;

    /// <summary>Whether cuBLAS can be called; without it a generated kernel multiplies matrices.</summary>
    public bool HasCublas { get; init; }

    /// <summary>Whether cuBLASLt can be called.</summary>
    public bool HasCublasLt { get; init; }

    /// <summary>Whether cuDNN can be called; without it generated kernels convolve.</summary>
    public bool HasCudnn { get; init; }

    /// <summary>Whether ways to run a convolution are timed against each other when it is bound; else a fixed order decides.</summary>
    public bool MeasuresConvolutions { get; init; }

    /// <summary>Whether f32 products may be rounded to TF32. Off unless asked for by name.</summary>
    public bool AllowTf32 { get; init; }

    /// <summary>
    /// The only variant that launchers may plan ("one_read", "two_read", "small", "naive", ...); null lets each choose by shape.
    /// A launcher that has no such variant, or whose variant does not fit the shape, plans as if nothing were asked.
    /// </summary>
    public string? Variant { get; init; }

    /// <summary>Numbers that a bench puts in place of a launcher's own choice, by name ("threads", "members", ...).</summary>
    public IReadOnlyDictionary<string, int> Tuning { get; init; } = FrozenDictionary<string, int>.Empty;

    /// <summary>Hears what launchers ask for; see <see cref="LauncherChoices.Of"/>.</summary>
    internal LauncherChoices? Choices { get; init; }

    /// <summary>Whether a launcher may plan this variant.</summary>
    public bool Allows(string variant)
    {
        Choices?.Add(variant);
        return Variant is null || Variant == variant;
    }

    /// <summary>A launcher's own choice unless a bench asked for another.</summary>
    public int Tuned(string name, int value)
    {
        Choices?.Add(name, value);
        return Tuning.GetValueOrDefault(name, value);
    }

    /// <summary>The limits of a real or simulated device; libraries are left to the caller.</summary>
    public static CudaLimits Of(CudaDeviceProperties properties) => new()
    {
        Architecture = properties.Architecture,
        Multiprocessors = properties.MultiprocessorCount,
        ThreadsPerMultiprocessor = properties.MaxThreadsPerMultiprocessor,
        ThreadsPerBlock = properties.MaxThreadsPerBlock,
        SharedBytesPerBlock = properties.SharedBytesPerBlock,
        SharedBytesPerBlockOptIn = properties.SharedBytesPerBlockOptIn,
        L2Bytes = properties.L2Bytes,
        SupportsClusters = properties.SupportsClusters,
        SupportsCooperativeLaunch = properties.SupportsCooperativeLaunch,
    };

    /// <summary>
    /// Blocks for a grid-stride loop over <paramref name="work"/> threads' worth of items: enough to fill the device
    /// <paramref name="waves"/> times, never more than there is work for, at least one.
    /// </summary>
    public int Blocks(long work, int blockThreads, int waves = 4)
    {
        var wanted = (work + blockThreads - 1) / blockThreads;
        var resident = (long)Multiprocessors * Math.Max(1, ThreadsPerMultiprocessor / blockThreads);
        return (int)Math.Clamp(wanted, 1, resident * waves);
    }
}
