using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// Compiled kernels, in memory and in a folder. An image lies in <c>name-key.checksum.cubin</c> (or .ptx): key of what it was
/// made from, checksum of its own bytes, so that one rename publishes it whole and a damaged file is recognised. Source,
/// options and log lie beside it for people. Any number of threads and processes may fill the same folder.
/// </summary>
public sealed class KernelCache
{
    /// <summary>Names the folder, in place of the default one.</summary>
    public const string FolderVariable = "GPUENGINE_KERNEL_CACHE";

    private const int ChecksumLength = 32;

    private readonly ConcurrentDictionary<string, Lazy<CompiledKernel>> _images = new();
    private readonly Action<string> _warn;
    private readonly string? _folder;
    private int _compiled;
    private int _fromFolder;
    private int _warned;

    /// <param name="folder">Where images are kept; null keeps them in memory alone.</param>
    /// <param name="warn">Told once, in a sentence, when the folder cannot be used.</param>
    public KernelCache(string? folder, Action<string> warn)
    {
        _folder = folder;
        _warn = warn;
    }

    /// <summary>Images that had to be compiled.</summary>
    public int Compiled => _compiled;

    /// <summary>Images that were found in the folder.</summary>
    public int FromFolder => _fromFolder;

    /// <summary>The user's cache folder: $GPUENGINE_KERNEL_CACHE, else the system's place for caches.</summary>
    public static string DefaultFolder()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } chosen)
            return chosen;
        if (OperatingSystem.IsWindows())
        {
            var local = Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData);
            return Path.Combine(local, "gpuengine", "kernels");
        }

        var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg
            ? xdg
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(cache, "gpuengine", "kernels");
    }

    /// <summary>The image for a source: from memory, from the folder, or freshly compiled and then kept.</summary>
    /// <exception cref="KernelCompileException">The source has errors. Nothing is kept, and nothing older is used instead.</exception>
    public CompiledKernel GetOrCompile(
        KernelSource source, CompilerOptions options, string architecture, IKernelCompiler compiler)
    {
        var arguments = options.ToArguments(architecture);
        var key = KernelKey.Of(source, arguments, architecture, compiler.Identity);
        // Lazy: two threads that want one kernel compile it once.
        var image = _images.GetOrAdd(key, _ => new(() => FindOrCompile(source, arguments, architecture, compiler, key)));
        try
        {
            return image.Value;
        }
        catch
        {
            // The next call tries again instead of repeating a failure that may have been passing.
            _images.TryRemove(new(key, image));
            throw;
        }
    }

    private CompiledKernel FindOrCompile(
        KernelSource source, IReadOnlyList<string> arguments, string architecture, IKernelCompiler compiler, string key)
    {
        var stem = $"{Stem(source.Name)}-{key}";
        if (Read(stem, source.Name, architecture) is { } found)
        {
            Interlocked.Increment(ref _fromFolder);
            return found;
        }

        var compiled = compiler.Compile(source, arguments, architecture);
        Interlocked.Increment(ref _compiled);
        Write(stem, compiled, source, arguments, compiler.Identity);
        return compiled;
    }

    private CompiledKernel? Read(string stem, string name, string architecture)
    {
        if (_folder is null)
            return null;
        try
        {
            if (!Directory.Exists(_folder))
                return null;
            // Two processes may both have published an image; either is good if its bytes are those it was named after.
            foreach (var path in Directory.EnumerateFiles(_folder, $"{stem}.*{Extension(architecture)}").Order())
            {
                var bytes = File.ReadAllBytes(path);
                if (Path.GetFileName(path) == $"{stem}.{Checksum(bytes)}{Extension(architecture)}")
                    return new CompiledKernel(name, architecture, bytes, ReadLog(stem));
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            Warn(exception.Message);
        }

        return null;
    }

    private string ReadLog(string stem)
    {
        var path = Path.Combine(_folder!, $"{stem}.log");
        return File.Exists(path) ? File.ReadAllText(path) : "";
    }

    private void Write(
        string stem, CompiledKernel image, KernelSource source, IReadOnlyList<string> arguments, string compiler)
    {
        if (_folder is null)
            return;
        try
        {
            Directory.CreateDirectory(_folder);
            Publish($"{stem}.cu", System.Text.Encoding.UTF8.GetBytes(source.Text));
            Publish($"{stem}.options", System.Text.Encoding.UTF8.GetBytes($"{compiler}\n{string.Join('\n', arguments)}\n"));
            if (image.Log.Length > 0)
                Publish($"{stem}.log", System.Text.Encoding.UTF8.GetBytes(image.Log));
            // Last: when the image is there, so is everything else.
            Publish($"{stem}.{Checksum(image.Image.Span)}{Extension(image.Architecture)}", image.Image.Span);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            Warn(exception.Message);
        }
    }

    /// <summary>Writes under a name nobody else has, then renames: a reader sees the whole file or none.</summary>
    private void Publish(string name, ReadOnlySpan<byte> bytes)
    {
        var temporary = Path.Combine(_folder!, $".{Guid.NewGuid():n}.tmp");
        try
        {
            File.WriteAllBytes(temporary, bytes);
            File.Move(temporary, Path.Combine(_folder!, name), overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private void Warn(string reason)
    {
        if (Interlocked.Exchange(ref _warned, 1) == 0)
        {
            _warn($"The kernel cache '{_folder}' cannot be used ({reason.TrimEnd('.')}): kernels are compiled anew in every run; " +
                  $"make the folder writable or set {FolderVariable} to another one.");
        }
    }

    private static string Checksum(ReadOnlySpan<byte> bytes) =>
        Convert.ToHexStringLower(SHA256.HashData(bytes))[..ChecksumLength];

    private static string Extension(string architecture) =>
        architecture.StartsWith("compute_", StringComparison.Ordinal) ? ".ptx" : ".cubin";

    /// <summary>The readable part of a file name: the source's own name, letters, digits, - and _ only.</summary>
    private static string Stem(string name)
    {
        var file = Path.GetFileNameWithoutExtension(name);
        var safe = string.Concat(file.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' ? c : '_'));
        return safe.Length > 48 ? safe[..48] : safe;
    }
}
