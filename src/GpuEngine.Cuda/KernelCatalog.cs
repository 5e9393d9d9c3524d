using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Launchers;

namespace GpuEngine.Cuda;

/// <summary>One set of compile-time constants that a kernel is used with.</summary>
/// <param name="Name">What tells it from the entry's other variants: "f32 relu".</param>
/// <param name="Defines">Macros, in order.</param>
public sealed record KernelVariant(string Name, IReadOnlyList<(string Name, string Value)> Defines);

/// <summary>One <c>extern "C"</c> kernel of a file of <c>kernels/</c>.</summary>
/// <param name="File">"batch_norm.cu".</param>
/// <param name="Entry">The kernel's name.</param>
/// <param name="Summary">One line for lists.</param>
public sealed record CatalogKernel(string File, string Entry, string Summary)
{
    /// <summary>
    /// The parameter list as the source writes it ("T* y", "const T* x", "i64 count"): what the launcher passes. A test compares
    /// it with the source.
    /// </summary>
    public required IReadOnlyList<string> Parameters { get; init; }

    /// <summary>The dtypes of its tensors that it is compiled for.</summary>
    public IReadOnlyList<DType> DTypes { get; init; } = [DType.F32, DType.F64, DType.BF16];

    /// <summary>Every way in which it is compiled: what the compile gate goes through.</summary>
    public required IReadOnlyList<KernelVariant> Variants { get; init; }

    /// <summary>The op that it runs, by its name in the op catalog; empty when there is none.</summary>
    public string Op { get; init; } = "";

    /// <summary>The request that a launcher would make for a variant.</summary>
    public KernelRequest Request(KernelVariant variant) => new(File, Entry) { Defines = variant.Defines };
}

/// <summary>The one registry of hand-written kernels: tests, the compile gate, benches and the command line enumerate it.</summary>
public static class KernelCatalog
{
    private static readonly List<CatalogKernel> Kernels = [.. BuiltIn()];

    /// <summary>Every kernel, in the order of registration.</summary>
    public static IReadOnlyList<CatalogKernel> All => Kernels;

    /// <summary>Adds a kernel from outside the engine.</summary>
    public static void Register(CatalogKernel kernel) => Kernels.Add(kernel);

    private static IReadOnlyList<CatalogKernel> BuiltIn() => FileKernels.All;
}
