namespace GpuEngine.Cuda.Runtime;

/// <summary>A translation unit held in memory.</summary>
/// <param name="Name">How messages call it: the file's path in the repository, or a name for generated text.</param>
/// <param name="Text">The source.</param>
/// <param name="Headers">Headers by the name under which they are included; more than are used do no harm.</param>
public sealed record KernelSource(string Name, string Text, IReadOnlyDictionary<string, string> Headers)
{
    /// <summary>A source that includes nothing.</summary>
    public KernelSource(string name, string text) : this(name, text, new Dictionary<string, string>())
    {
    }
}

/// <summary>What a compiler made of a source.</summary>
/// <param name="Name">The source's name.</param>
/// <param name="Architecture">sm_xy for a binary, compute_xy for PTX.</param>
/// <param name="Image">The bytes to load.</param>
/// <param name="Log">The compiler's warnings; empty when there are none.</param>
public sealed record CompiledKernel(string Name, string Architecture, ReadOnlyMemory<byte> Image, string Log)
{
    /// <summary>Whether the driver still has to compile it.</summary>
    public bool IsPtx => Architecture.StartsWith("compute_", StringComparison.Ordinal);
}

/// <summary>Turns sources into images.</summary>
public interface IKernelCompiler
{
    /// <summary>Name and version: what, beside source and options, decides the image.</summary>
    string Identity { get; }

    /// <summary>Compiles for one architecture.</summary>
    /// <exception cref="KernelCompileException">The source has errors.</exception>
    CompiledKernel Compile(KernelSource source, IReadOnlyList<string> options, string architecture);
}
