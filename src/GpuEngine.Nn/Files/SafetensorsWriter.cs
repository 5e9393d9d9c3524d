using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using GpuEngine.Core;

namespace GpuEngine.Nn.Files;

/// <summary>
/// Collects tensors by reference and writes them to a safetensors file in one pass, without a copy in memory. The same
/// calls give the same bytes. The header names the tensors in the caller's order; the data stands by descending element
/// size, so that every tensor is aligned for whoever maps the file.
/// </summary>
public sealed class SafetensorsWriter
{
    // A piece is hashed and then written while it is still in the cache.
    private const int PieceBytes = 1 << 18;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    private readonly OrderedDictionary<string, Entry> _tensors = [];
    private readonly OrderedDictionary<string, string> _metadata = [];

    /// <summary>How many bytes of tensor data the file will hold.</summary>
    public long DataBytes { get; private set; }

    /// <summary>Adds a line to the metadata.</summary>
    /// <exception cref="ArgumentException">The key is taken, or it is the checksum's, or the text is not
    /// Unicode.</exception>
    public SafetensorsWriter AddMetadata(string key, string value)
    {
        CheckUnicode(key);
        CheckUnicode(value);
        if (key == SafetensorsFile.ChecksumKey || !_metadata.TryAdd(key, value))
            throw new ArgumentException($"the metadata already has '{key}'", nameof(key));
        return this;
    }

    /// <summary>
    /// Adds a tensor whose elements are in memory; they are read at <see cref="Save"/>, not before.
    /// <typeparamref name="T"/> is the dtype's own type, one of the same size (<see cref="ushort"/> for BF16), or byte.
    /// </summary>
    /// <param name="name">Unique; any text but <c>__metadata__</c>.</param>
    /// <param name="dtype">The element type that readers will see.</param>
    /// <param name="shape">The sizes, row-major; empty for a scalar.</param>
    /// <param name="data">Exactly the elements of that shape.</param>
    /// <exception cref="ArgumentException">The name is taken, or the data do not fit the shape and dtype.</exception>
    public SafetensorsWriter Add<T>(
        string name, SafetensorsDtype dtype, ReadOnlySpan<long> shape, ReadOnlyMemory<T> data)
        where T : unmanaged
    {
        var found = (long)data.Length * Unsafe.SizeOf<T>();
        var expected = SafetensorsDtypes.ByteLength(dtype, shape);
        if (found != expected || (Unsafe.SizeOf<T>() != dtype.Size() && typeof(T) != typeof(byte)))
        {
            throw new ArgumentException(
                $"tensor '{name}' of shape {SafetensorsTensor.ToText(shape.ToArray())} and dtype {dtype} needs " +
                $"{expected} bytes, got {data.Length} elements of {Unsafe.SizeOf<T>()} bytes", nameof(data));
        }

        return Add(name, dtype, shape, stream => stream.Write(MemoryMarshal.AsBytes(data.Span)));
    }

    /// <summary>
    /// Adds a tensor whose bytes (little-endian) <paramref name="write"/> sends to the stream at <see cref="Save"/>;
    /// for data that lie elsewhere, or are longer than an array can be.
    /// </summary>
    /// <exception cref="ArgumentException">The name is taken, or a size is negative or too large.</exception>
    public SafetensorsWriter Add(string name, SafetensorsDtype dtype, ReadOnlySpan<long> shape, Action<Stream> write)
    {
        ArgumentNullException.ThrowIfNull(write);
        CheckUnicode(name);
        foreach (var size in shape) ArgumentOutOfRangeException.ThrowIfNegative(size, nameof(shape));
        var bytes = SafetensorsDtypes.ByteLength(dtype, shape)
            ?? throw new ArgumentException($"tensor '{name}' has more bytes than a file can hold", nameof(shape));
        var entry = new Entry(dtype, shape.ToArray(), bytes, write);
        if (name == SafetensorsHeader.MetadataKey || !_tensors.TryAdd(name, entry))
            throw new ArgumentException($"the name '{name}' is taken", nameof(name));
        DataBytes = checked(DataBytes + bytes);
        return this;
    }

    /// <summary>
    /// Writes the file through <see cref="AtomicFile"/>: the old file stays until the new one is whole.
    /// </summary>
    /// <exception cref="UserException">As <see cref="AtomicFile.Write"/>.</exception>
    /// <exception cref="InvalidOperationException">A callback wrote another number of bytes than its tensor
    /// has.</exception>
    public void Save(string path)
    {
        // Sorting is stable: equal sizes stay in the caller's order.
        var layout = _tensors.OrderByDescending(t => t.Value.Dtype.Size()).ToList();
        var (header, checksumAt) = Header(layout);
        AtomicFile.Write(path, file => Write(file, header, checksumAt, layout), header.Length + DataBytes);
    }

    private static void Write(
        FileStream file, byte[] header, int checksumAt, List<KeyValuePair<string, Entry>> layout)
    {
        using var stream = new HashingStream(file);
        stream.Allow(header.Length);
        stream.Write(header);
        foreach (var (name, tensor) in layout)
        {
            stream.Allow(tensor.Bytes);
            tensor.Write(stream);
            if (stream.Allowed != 0)
            {
                throw new InvalidOperationException(
                    $"tensor '{name}' has {tensor.Bytes} bytes, its callback wrote {tensor.Bytes - stream.Allowed}");
            }
        }

        // The checksum is known only now; nobody has seen the file yet, so its place can still be filled in.
        file.Position = checksumAt;
        file.Write(Encoding.ASCII.GetBytes(stream.Digits()));
    }

    /// <summary>The first bytes of the file up to the data, and where in them the checksum's zeros stand.</summary>
    private (byte[] Header, int ChecksumAt) Header(List<KeyValuePair<string, Entry>> layout)
    {
        var begins = new Dictionary<string, long>(layout.Count);
        var end = 0L;
        foreach (var (name, tensor) in layout)
        {
            begins.Add(name, end);
            end += tensor.Bytes;
        }

        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer);
        json.WriteStartObject();
        json.WriteStartObject(SafetensorsHeader.MetadataKey);
        foreach (var (key, value) in _metadata) json.WriteString(key, value);
        json.WriteString(SafetensorsFile.ChecksumKey, new string('0', SafetensorsFile.ChecksumDigits));
        json.Flush();
        var checksumAt = 8 + buffer.WrittenCount - 1 - SafetensorsFile.ChecksumDigits;
        json.WriteEndObject();
        foreach (var (name, tensor) in _tensors)
        {
            json.WriteStartObject(name);
            json.WriteString("dtype", tensor.Dtype.ToString());
            json.WriteStartArray("shape");
            foreach (var size in tensor.Shape) json.WriteNumberValue(size);
            json.WriteEndArray();
            json.WriteStartArray("data_offsets");
            json.WriteNumberValue(begins[name]);
            json.WriteNumberValue(begins[name] + tensor.Bytes);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndObject();
        json.Flush();

        // Spaces up to a multiple of 8, so that the data begin aligned.
        var length = (buffer.WrittenCount + 7) / 8 * 8;
        if (length > SafetensorsHeader.MaxBytes)
        {
            throw new InvalidOperationException(
                $"the header has {length} bytes, readers take {SafetensorsHeader.MaxBytes}");
        }

        var header = new byte[8 + length];
        header.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)length);
        buffer.WrittenSpan.CopyTo(header.AsSpan(8));
        return (header, checksumAt);
    }

    private static void CheckUnicode(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        // Half of a surrogate pair has no UTF-8 and would be read back as another name; this throws an
        // ArgumentException.
        StrictUtf8.GetByteCount(text);
    }

    private sealed record Entry(SafetensorsDtype Dtype, long[] Shape, long Bytes, Action<Stream> Write);

    /// <summary>Passes bytes on to the file, hashes them, and lets no tensor write more than its own.</summary>
    private sealed class HashingStream(Stream file) : Stream
    {
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

        public long Allowed { get; private set; }

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public void Allow(long bytes) => Allowed = bytes;

        public string Digits() => Convert.ToHexStringLower(_hash.GetHashAndReset());

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (buffer.Length > Allowed)
            {
                throw new InvalidOperationException(
                    $"a tensor's callback wrote {buffer.Length - Allowed} bytes too many");
            }

            Allowed -= buffer.Length;
            while (!buffer.IsEmpty)
            {
                var piece = buffer[..Math.Min(buffer.Length, PieceBytes)];
                _hash.AppendData(piece);
                file.Write(piece);
                buffer = buffer[piece.Length..];
            }
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing) _hash.Dispose();
            base.Dispose(disposing);
        }
    }
}
