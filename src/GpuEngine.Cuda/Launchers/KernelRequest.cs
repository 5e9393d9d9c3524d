using System.Globalization;
using GpuEngine.Core.Graph;
using GpuEngine.Cuda.Runtime;

namespace GpuEngine.Cuda.Launchers;

/// <summary>One compiled kernel that a launcher needs: where its source is, which entry, with which compile-time constants.</summary>
/// <param name="Source">
/// A file of <c>kernels/</c> ("batch_norm.cu"), or the name under which <see cref="GeneratedText"/> appears in messages.
/// </param>
/// <param name="Entry">The <c>extern "C"</c> name of the kernel.</param>
public sealed record KernelRequest(string Source, string Entry)
{
    /// <summary>The source itself when it is generated; null for a file of <c>kernels/</c>.</summary>
    public string? GeneratedText { get; init; }

    /// <summary>Macros, in order: the kernel's compile-time parameters.</summary>
    public IReadOnlyList<(string Name, string Value)> Defines { get; init; } = [];

    /// <summary>Whether a * b + c may become one rounding.</summary>
    public bool Fma { get; init; } = true;

    /// <summary>Approximate functions; only where the kernel's header says so and why.</summary>
    public bool FastMath { get; init; }

    /// <summary>Dynamic shared memory of the launch, so that more than 48 KiB are asked for when the kernel is loaded.</summary>
    public int DynamicSharedBytes { get; init; }

    /// <summary>Two requests with the same key are one image.</summary>
    public string ImageKey => $"{Source}|{string.Join(';', Defines.Select(d => $"{d.Name}={d.Value}"))}|{Fma}|{FastMath}|{GeneratedText}";

    /// <summary>The compiler options.</summary>
    public CompilerOptions Options => new() { Defines = Defines, Fma = Fma, FastMath = FastMath };

    /// <summary>The C++ type that stores a dtype: float, double, bf16, i32, i64, u8 (also for bool), of gpuengine.</summary>
    public static string StorageType(DType dtype) => dtype switch
    {
        DType.F32 => "float",
        DType.F64 => "double",
        DType.BF16 => "bf16",
        DType.I32 => "i32",
        DType.I64 => "i64",
        _ => "u8",
    };

    /// <summary>The C++ type that a dtype is computed in: float for bf16, else the storage type.</summary>
    public static string ComputeType(DType dtype) => dtype == DType.BF16 ? "float" : StorageType(dtype);

    /// <summary>An integer macro.</summary>
    public static (string Name, string Value) Define(string name, long value) =>
        (name, value.ToString(CultureInfo.InvariantCulture));

    /// <summary>A macro that holds a storage type.</summary>
    public static (string Name, string Value) Define(string name, DType dtype) => (name, StorageType(dtype));

    /// <summary>A macro that holds a float exactly.</summary>
    public static (string Name, string Value) Define(string name, float value) => (name, CompilerOptions.Constant(value));
}
