using System.Globalization;

namespace GpuEngine.Cuda.Runtime;

/// <summary>What a kernel is compiled with, apart from the architecture.</summary>
public sealed record CompilerOptions
{
    /// <summary>Macros in the order they are given to the compiler: the compile-time constants of the kernel.</summary>
    public IReadOnlyList<(string Name, string Value)> Defines { get; init; } = [];

    /// <summary>C++ standard: 17 or 20.</summary>
    public int Standard { get; init; } = 17;

    /// <summary>Approximate division, square root and transcendental functions, flushed denormals. Off unless asked for.</summary>
    public bool FastMath { get; init; }

    /// <summary>Whether a * b + c may become one rounding.</summary>
    public bool Fma { get; init; } = true;

    /// <summary>Source lines in the binary for profilers; costs no speed.</summary>
    public bool LineInfo { get; init; } = true;

    /// <summary>Most registers per thread; 0 leaves it to the compiler.</summary>
    public int MaxRegisters { get; init; }

    /// <summary>Options this class has no name for, as the compiler takes them.</summary>
    public IReadOnlyList<string> Extra { get; init; } = [];

    /// <summary>A number as a C++ constant that keeps its exact value: 0.1f becomes 0.1f, not 0.1 in double.</summary>
    public static string Constant(float value) => value switch
    {
        float.PositiveInfinity => "(1.0f/0.0f)",
        float.NegativeInfinity => "(-1.0f/0.0f)",
        _ when float.IsNaN(value) => "(0.0f/0.0f)",
        _ => Exact(value),
    };

    /// <summary>The options as strings, always in the same order for the same settings.</summary>
    /// <param name="architecture">sm_90 for a binary, compute_90 for PTX.</param>
    public IReadOnlyList<string> ToArguments(string architecture)
    {
        List<string> arguments =
        [
            $"--gpu-architecture={architecture}",
            $"--std=c++{Standard.ToString(CultureInfo.InvariantCulture)}",
            // Functions without a mark are device functions: the sources include nothing from the toolkit.
            "--device-as-default-execution-space",
            $"--fmad={(Fma ? "true" : "false")}",
        ];
        if (FastMath)
            arguments.Add("--use_fast_math");
        if (LineInfo)
            arguments.Add("--generate-line-info");
        if (MaxRegisters > 0)
            arguments.Add($"--maxrregcount={MaxRegisters.ToString(CultureInfo.InvariantCulture)}");
        foreach (var (name, value) in Defines)
            arguments.Add($"--define-macro={name}={value}");
        arguments.AddRange(Extra);
        return arguments;
    }

    private static string Exact(float value)
    {
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        return text.Contains('.') || text.Contains('E') ? $"{text}f" : $"{text}.0f";
    }
}
