using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using GpuEngine.Core;
using Microsoft.Win32.SafeHandles;

namespace GpuEngine.Nn.Files;

/// <summary>
/// An open safetensors file: the header is read and checked, tensor data is read on demand, from several threads if
/// need be. Reads are positional and not mapped, because a mapped file that another process cuts short ends the
/// program.
/// </summary>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>
    /// The metadata key of the checksum: SHA-256, as lower-case hexadecimal digits, of the whole file with these digits
    /// themselves replaced by zeros. It covers the header too, where steps, seeds and shapes stand.
    /// </summary>
    public const string ChecksumKey = "gpuengine.sha256";

    internal const int ChecksumDigits = 64;

    // Large enough that the cost of a call vanishes, small enough to stay in the cache between reading and hashing.
    private const int ChunkBytes = 1 << 18;

    private readonly SafeFileHandle _handle;
    private readonly SafetensorsHeader _header;
    private readonly long _dataStart;
    private readonly long _fileBytes;

    private SafetensorsFile(string path, SafeFileHandle handle)
    {
        Path = path;
        _handle = handle;
        _fileBytes = RandomAccess.GetLength(handle);
        if (_fileBytes < 8)
        {
            throw SafetensorsHeader.Bad(
                path, $"it has {_fileBytes} bytes, expected at least the 8 bytes of the header's length");
        }

        Span<byte> prefix = stackalloc byte[8];
        ReadAt(0, prefix);
        var headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerBytes > (ulong)_fileBytes - 8 || headerBytes > SafetensorsHeader.MaxBytes)
            throw NotSafetensors(prefix, headerBytes);

        _dataStart = 8 + (long)headerBytes;
        var json = new byte[headerBytes];
        ReadAt(8, json);
        _header = SafetensorsHeader.Parse(path, json, _fileBytes - _dataStart);
    }

    /// <summary>The path as it was given.</summary>
    public string Path { get; }

    /// <summary>The tensors by name, in the order of the header.</summary>
    public IReadOnlyDictionary<string, SafetensorsTensor> Tensors => _header.Tensors;

    /// <summary>The <c>__metadata__</c> of the file; empty where there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _header.Metadata;

    /// <summary>Whether the file carries a checksum; files of other programs do not, and are no worse for it.</summary>
    public bool HasChecksum => _header.ChecksumAt >= 0;

    /// <summary>Opens the file and checks its header against its size.</summary>
    /// <exception cref="UserException">The file cannot be read, or it is not a whole safetensors file.</exception>
    public static SafetensorsFile Open(string path)
    {
        FileFailure.CheckName(path);
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(
                path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, FileOptions.RandomAccess);
            return new SafetensorsFile(path, handle);
        }
        catch (Exception e)
        {
            handle?.Dispose();
            if (FileFailure.IsFromFileSystem(e)) throw FileFailure.Reading(path, e);
            if (e is NotSupportedException)
                throw new UserException($"Cannot read '{path}': it is a pipe or a device; give the name of a file.", e);
            throw;
        }
    }

    /// <summary>The tensor of that name.</summary>
    /// <exception cref="UserException">There is none; the message names the nearest.</exception>
    public SafetensorsTensor Tensor(string name)
    {
        if (Tensors.TryGetValue(name, out var tensor)) return tensor;
        var nearest = NearestName.Of(name, Tensors.Keys);
        var hint = nearest is null ? "" : $", the nearest is {SafetensorsHeader.Quoted(nearest)}";
        throw new UserException(
            $"The file '{Path}' has no tensor {SafetensorsHeader.Quoted(name)} among its {Tensors.Count}{hint}; " +
            "check the name or take another file.");
    }

    /// <summary>Reads all bytes of a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="destination">Exactly as long as the tensor, in bytes.</param>
    /// <exception cref="UserException">No such tensor, another size, or the file became shorter since it was
    /// opened.</exception>
    public void ReadInto(string name, Span<byte> destination)
    {
        var tensor = Tensor(name);
        if (destination.Length != tensor.ByteLength)
        {
            throw new UserException(
                $"Tensor {SafetensorsHeader.Quoted(name)} of '{Path}' has {tensor.ByteLength:N0} bytes (shape " +
                $"{tensor.ShapeText}, {tensor.Dtype}), expected {destination.Length:N0}; take a file of the same " +
                "model.");
        }

        ReadAt(_dataStart + tensor.Offset, destination);
    }

    /// <summary>
    /// Reads a part of a tensor: the bytes from <paramref name="offset"/> on. For tensors longer than a span can be.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The part is not inside the tensor.</exception>
    public void ReadInto(string name, long offset, Span<byte> destination)
    {
        var tensor = Tensor(name);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, tensor.ByteLength - destination.Length);
        ReadAt(_dataStart + tensor.Offset + offset, destination);
    }

    /// <summary>
    /// The elements of a tensor in a new array. <typeparamref name="T"/> must have the size of the tensor's dtype;
    /// its bits are taken as they are, so BF16 is read as <see cref="ushort"/>.
    /// </summary>
    /// <exception cref="UserException">As <see cref="ReadInto(string, Span{byte})"/>, or the element size
    /// differs.</exception>
    public T[] Read<T>(string name)
        where T : unmanaged
    {
        var tensor = Tensor(name);
        if (Unsafe.SizeOf<T>() != tensor.Dtype.Size())
        {
            throw new UserException(
                $"Tensor {SafetensorsHeader.Quoted(name)} of '{Path}' is {tensor.Dtype} with {tensor.Dtype.Size()} " +
                $"bytes per element, expected {Unsafe.SizeOf<T>()}; convert the file.");
        }

        if (tensor.ByteLength > Array.MaxLength)
        {
            throw new UserException(
                $"Tensor {SafetensorsHeader.Quoted(name)} of '{Path}' has {tensor.ByteLength:N0} bytes, expected at " +
                $"most {Array.MaxLength:N0}; split the tensor.");
        }

        var elements = new T[tensor.ByteLength / Unsafe.SizeOf<T>()];
        ReadInto(name, MemoryMarshal.AsBytes(elements.AsSpan()));
        return elements;
    }

    /// <summary>
    /// Reads the whole file and compares it with its checksum. True when it agrees, false when the file has none.
    /// </summary>
    /// <exception cref="UserException">The checksum does not agree: the file was damaged after it was
    /// written.</exception>
    public bool VerifyChecksum()
    {
        if (!HasChecksum) return false;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var chunk = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            var digits = 8L + _header.ChecksumAt;
            // Up to the digits, zeros in their place, and from behind them to the end.
            HashRange(hash, 0, digits, chunk);
            var zeros = chunk.AsSpan(0, ChecksumDigits);
            zeros.Fill((byte)'0');
            hash.AppendData(zeros);
            HashRange(hash, digits + ChecksumDigits, _fileBytes, chunk);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }

        var expected = Metadata[ChecksumKey];
        var found = Convert.ToHexStringLower(hash.GetHashAndReset());
        if (found == expected) return true;
        throw SafetensorsHeader.Bad(
            Path, $"its checksum is {found[..16]}..., expected {expected[..16]}..., the file is damaged");
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _handle.Dispose();

    private void HashRange(IncrementalHash hash, long from, long to, byte[] chunk)
    {
        while (from < to)
        {
            var part = chunk.AsSpan(0, (int)Math.Min(ChunkBytes, to - from));
            ReadAt(from, part);
            hash.AppendData(part);
            from += part.Length;
        }
    }

    private void ReadAt(long offset, Span<byte> destination)
    {
        try
        {
            while (!destination.IsEmpty)
            {
                var read = RandomAccess.Read(_handle, destination, offset);
                if (read == 0)
                {
                    throw SafetensorsHeader.Bad(
                        Path,
                        $"it ends at byte {offset:N0}, expected {_fileBytes:N0} bytes, it was cut short after it was " +
                        "opened");
                }

                destination = destination[read..];
                offset += read;
            }
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            throw FileFailure.Reading(Path, e);
        }
    }

    private UserException NotSafetensors(ReadOnlySpan<byte> prefix, ulong headerBytes)
    {
        if (prefix.StartsWith("PK"u8))
        {
            return new UserException(
                $"Cannot read '{Path}' as safetensors: it is a zip archive, as PyTorch's .pt files are; " +
                "convert it with the safetensors package of Python.");
        }

        var limit = Math.Min(_fileBytes - 8, SafetensorsHeader.MaxBytes);
        return SafetensorsHeader.Bad(
            Path,
            $"its first 8 bytes announce a header of {headerBytes:N0} bytes, expected at most {limit:N0} in a file " +
            $"of {_fileBytes:N0} bytes");
    }
}
