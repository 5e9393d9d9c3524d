using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace GpuEngine.Cuda.Runtime;

/// <summary>The name of an image in the cache: everything that decides its bytes, hashed.</summary>
public static class KernelKey
{
    /// <summary>Raised when the meaning of a cached file changes.</summary>
    private const string Format = "gpuengine kernel 1";

    /// <summary>
    /// SHA-256 over the source, the headers it can reach with their names, the options, the architecture and the compiler, each
    /// with its length in front, as 64 hexadecimal digits.
    /// </summary>
    public static string Of(
        KernelSource source, IReadOnlyList<string> options, string architecture, string compiler)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(Format);
        Append(compiler);
        Append(architecture);
        AppendCount(options.Count);
        foreach (var option in options)
            Append(option);
        // The name is in the image as line information, and in the log.
        Append(source.Name);
        Append(source.Text);
        var headers = IncludeScanner.Closure(source.Text, source.Headers);
        AppendCount(headers.Count);
        foreach (var name in headers)
        {
            Append(name);
            Append(source.Headers[name]);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());

        void Append(string text)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            AppendCount(bytes.Length);
            hash.AppendData(bytes);
        }

        // Without the lengths, moving a character from one field to the next would not change the hash.
        void AppendCount(int count)
        {
            Span<byte> bytes = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(bytes, count);
            hash.AppendData(bytes);
        }
    }
}
