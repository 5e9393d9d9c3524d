using System.Buffers;
using System.Text.Json;
using GpuEngine.Core;

namespace GpuEngine.Nn.Files;

/// <summary>
/// Reads and checks the JSON header of a safetensors file (format: https://github.com/huggingface/safetensors).
/// Whatever the bytes are, the outcome is a header in which every tensor lies inside the data and no two overlap, or a
/// <see cref="UserException"/>.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>The longest header that is read, as in the reference implementation.</summary>
    public const int MaxBytes = 100_000_000;

    /// <summary>The key of the free text-to-text map.</summary>
    public const string MetadataKey = "__metadata__";

    private static readonly SearchValues<byte> HexDigits = SearchValues.Create("0123456789abcdef"u8);

    private readonly string _path;
    private readonly long _dataBytes;

    private SafetensorsHeader(string path, long dataBytes)
    {
        _path = path;
        _dataBytes = dataBytes;
    }

    /// <summary>The tensors in the order in which the header names them.</summary>
    public OrderedDictionary<string, SafetensorsTensor> Tensors { get; } = [];

    public OrderedDictionary<string, string> Metadata { get; } = [];

    /// <summary>Where in the JSON the digits of the checksum stand, or -1 where the file has none.</summary>
    public int ChecksumAt { get; private set; } = -1;

    /// <summary>Parses <paramref name="json"/>, the header of a file with so many bytes of data.</summary>
    public static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long dataBytes)
    {
        var header = new SafetensorsHeader(path, dataBytes);
        if (json.IsEmpty || json[0] != '{')
            throw header.Bad("its header does not begin with '{'");
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 8 });
        try
        {
            header.ReadAll(ref reader);
            // Only spaces may follow; the JSON reader itself refuses anything else.
            reader.Read();
        }
        catch (JsonException)
        {
            throw header.Bad($"its header is not well-formed JSON at byte {8 + reader.BytesConsumed:N0} of the file");
        }

        header.CheckLayout();
        return header;
    }

    /// <summary>A file that is not what it should be; <paramref name="detail"/> says in what.</summary>
    public static UserException Bad(string path, string detail) =>
        new($"Cannot read '{path}' as safetensors: {detail}; write or copy the file again.");

    private UserException Bad(string detail) => Bad(_path, detail);

    private void ReadAll(ref Utf8JsonReader reader)
    {
        reader.Read();
        var sawMetadata = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = Text(ref reader);
            reader.Read();
            if (name == MetadataKey)
            {
                if (sawMetadata) throw Bad($"its header has two '{MetadataKey}'");
                sawMetadata = true;
                ReadMetadata(ref reader);
            }
            else if (!Tensors.TryAdd(name, ReadTensor(ref reader, name)))
            {
                throw Bad($"its header has two tensors named {Quoted(name)}");
            }
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null) return;
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Bad($"'{MetadataKey}' is {Kind(reader.TokenType)}, expected an object of strings");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = Text(ref reader);
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw Bad($"the metadata {Quoted(key)} is {Kind(reader.TokenType)}, expected a string");
            if (!Metadata.TryAdd(key, Text(ref reader)))
                throw Bad($"its metadata has {Quoted(key)} twice");
            if (key == SafetensorsFile.ChecksumKey) NoteChecksum(ref reader);
        }
    }

    private void NoteChecksum(ref Utf8JsonReader reader)
    {
        var digits = reader.ValueSpan;
        if (digits.Length != SafetensorsFile.ChecksumDigits || digits.ContainsAnyExcept(HexDigits))
        {
            throw Bad(
                $"its checksum '{SafetensorsFile.ChecksumKey}' is not {SafetensorsFile.ChecksumDigits} lower-case " +
                "hexadecimal digits");
        }

        ChecksumAt = (int)reader.TokenStartIndex + 1;
    }

    private SafetensorsTensor ReadTensor(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Bad($"the entry of tensor {Quoted(name)} is {Kind(reader.TokenType)}, expected an object");
        string? dtypeName = null;
        long[]? shape = null;
        long[]? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = Text(ref reader);
            reader.Read();
            var repeated = key switch
            {
                "dtype" => dtypeName is not null,
                "shape" => shape is not null,
                "data_offsets" => offsets is not null,
                _ => false,
            };
            if (repeated) throw Bad($"tensor {Quoted(name)} gives '{key}' twice");
            switch (key)
            {
                case "dtype" when reader.TokenType == JsonTokenType.String:
                    dtypeName = Text(ref reader);
                    break;
                case "dtype":
                    throw Bad($"the dtype of tensor {Quoted(name)} is {Kind(reader.TokenType)}, expected a string");
                case "shape":
                    shape = ReadSizes(ref reader, name, key);
                    break;
                case "data_offsets":
                    offsets = ReadSizes(ref reader, name, key);
                    break;
                default:
                    // Later versions of the format may say more; the reference implementation passes over it too.
                    reader.Skip();
                    break;
            }
        }

        var missing = dtypeName is null ? "dtype" : shape is null ? "shape" : offsets is null ? "data_offsets" : null;
        if (missing is not null) throw Bad($"tensor {Quoted(name)} has no '{missing}'");
        return Check(name, dtypeName!, shape!, offsets!);
    }

    private SafetensorsTensor Check(string name, string dtypeName, long[] shape, long[] offsets)
    {
        if (!SafetensorsDtypes.TryParse(dtypeName, out var dtype))
        {
            throw Bad(
                $"tensor {Quoted(name)} has the dtype {Quoted(dtypeName)}, expected one of " +
                string.Join(", ", SafetensorsDtypes.Names));
        }

        if (offsets.Length != 2 || offsets[0] > offsets[1])
        {
            throw Bad(
                $"the data_offsets of tensor {Quoted(name)} are {Sizes(offsets)}, expected a begin and an end");
        }

        var expected = SafetensorsDtypes.ByteLength(dtype, shape) ?? throw Bad(
            $"tensor {Quoted(name)} of shape {Sizes(shape)} and dtype {dtype} has more bytes than a file can hold");
        var found = offsets[1] - offsets[0];
        if (found != expected)
        {
            throw Bad(
                $"tensor {Quoted(name)} of shape {Sizes(shape)} and dtype {dtype} needs {expected:N0} bytes, but its " +
                $"data_offsets {Sizes(offsets)} span {found:N0}");
        }

        if (offsets[1] > _dataBytes)
        {
            throw Bad(
                $"tensor {Quoted(name)} ends at byte {offsets[1]:N0} of the data, but only {_dataBytes:N0} bytes are " +
                "there, the file is cut short");
        }

        return new SafetensorsTensor(name, dtype, shape, offsets[0], found);
    }

    /// <summary>The tensors must cover the data without holes and without overlaps, in whatever order.</summary>
    private void CheckLayout()
    {
        var end = 0L;
        SafetensorsTensor? before = null;
        foreach (var tensor in Tensors.Values.OrderBy(t => t.Offset).ThenBy(t => t.ByteLength))
        {
            if (tensor.Offset < end)
            {
                throw Bad(
                    $"tensor {Quoted(tensor.Name)} begins at byte {tensor.Offset:N0} of the data, inside tensor " +
                    $"{Quoted(before!.Name)}, which ends at byte {end:N0}");
            }

            if (tensor.Offset > end)
            {
                throw Bad(
                    $"{tensor.Offset - end:N0} bytes before tensor {Quoted(tensor.Name)} belong to no tensor, " +
                    $"expected it at byte {end:N0} of the data, found it at {tensor.Offset:N0}");
            }

            end = tensor.Offset + tensor.ByteLength;
            before = tensor;
        }

        if (end != _dataBytes)
        {
            throw Bad(
                $"{_dataBytes - end:N0} bytes after the last tensor belong to none, expected the end of the file");
        }
    }

    private long[] ReadSizes(ref Utf8JsonReader reader, string tensor, string key)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw Bad(
                $"the {key} of tensor {Quoted(tensor)} is {Kind(reader.TokenType)}, expected an array of numbers");
        }

        var sizes = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var size) || size < 0)
            {
                var found = reader.TokenType == JsonTokenType.Number
                    ? Quoted(System.Text.Encoding.UTF8.GetString(reader.ValueSpan))
                    : Kind(reader.TokenType);
                throw Bad(
                    $"the {key} of tensor {Quoted(tensor)} holds {found}, expected whole numbers from 0 to " +
                    $"{long.MaxValue}");
            }

            sizes.Add(size);
        }

        return [.. sizes];
    }

    private string Text(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            // Bytes that are no UTF-8, or half of a surrogate pair written as \ud800.
            throw Bad($"its header holds text that is not Unicode at byte {8 + reader.TokenStartIndex:N0} of the file");
        }
    }

    /// <summary>A name from the file, fit for one line of a message: short and without control characters.</summary>
    public static string Quoted(string name)
    {
        var visible = string.Concat(name.Take(100).Select(c => char.IsControl(c) ? '?' : c));
        return $"'{visible}{(name.Length > 100 ? "..." : "")}'";
    }

    private static string Sizes(long[] sizes) =>
        sizes.Length <= 16 ? SafetensorsTensor.ToText(sizes) : $"with {sizes.Length:N0} sizes";

    private static string Kind(JsonTokenType token) => token switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.String => "a string",
        JsonTokenType.Number => "a number",
        JsonTokenType.True or JsonTokenType.False => "true or false",
        _ => "null",
    };
}
