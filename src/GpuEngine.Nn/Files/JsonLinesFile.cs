using System.Buffers;
using System.Text.Json;
using GpuEngine.Core;

namespace GpuEngine.Nn.Files;

/// <summary>
/// A file with one JSON object per line, such as <c>metrics.jsonl</c>, that grows by whole lines and survives a kill at
/// any moment: a half-written last line is dropped at the next opening.
/// </summary>
/// <remarks>
/// Numbers are written so that they read back to the same value. JSON has no NaN and no infinity; they become
/// <c>null</c>, which pandas reads as NaN in a numeric column and jq as null, while a bare NaN breaks strict readers
/// and a string would turn the whole column into text.
/// </remarks>
public sealed class JsonLinesFile : IDisposable
{
    private readonly ArrayBufferWriter<byte> _line = new(256);
    private RecordFile _file;

    private JsonLinesFile(string path)
    {
        Path = path;
        _file = OpenAtEnd(path);
    }

    /// <summary>The path as it was given.</summary>
    public string Path { get; }

    /// <summary>Opens the file for appending, or creates it.</summary>
    /// <exception cref="UserException">The file cannot be written.</exception>
    public static JsonLinesFile Open(string path)
    {
        FileFailure.CheckName(path);
        return new JsonLinesFile(path);
    }

    /// <summary>
    /// The objects of the file, line by line; blank lines and a half-written last line are passed over. A missing file
    /// has none.
    /// </summary>
    /// <exception cref="UserException">The file cannot be read, or a line before the last is not a JSON
    /// object.</exception>
    public static IReadOnlyList<JsonElement> Read(string path) => [.. Lines(path).Select(line => line.Value)];

    /// <summary>
    /// Appends one object and hands it to the operating system, so that a killed process loses no line.
    /// </summary>
    /// <param name="fields">
    /// Names and values in order; a value is null, a string, a bool, an integer, a float, a double or a decimal.
    /// </param>
    /// <exception cref="UserException">The disk is full or the file cannot be written; the file keeps its whole
    /// lines.</exception>
    public void Append(params ReadOnlySpan<(string Name, object? Value)> fields)
    {
        _line.ResetWrittenCount();
        using (var json = new Utf8JsonWriter(_line))
        {
            json.WriteStartObject();
            foreach (var (name, value) in fields)
            {
                json.WritePropertyName(name);
                WriteValue(json, name, value);
            }

            json.WriteEndObject();
        }

        _line.Write("\n"u8);
        _file.Append(_line.WrittenSpan);
    }

    /// <summary>Waits until all lines are on the disk itself, so that they survive a power failure too.</summary>
    /// <exception cref="UserException">The disk refuses.</exception>
    public void FlushToDisk() => _file.FlushToDisk();

    /// <summary>
    /// Drops the lines whose number <c>step</c> is above <paramref name="step"/>, as a run does that goes on from the
    /// checkpoint of that step; lines without a step stay. The file is replaced in one move, or left alone where
    /// nothing is to be dropped. Returns how many lines were dropped.
    /// </summary>
    /// <exception cref="UserException">As <see cref="Read"/> and <see cref="AtomicFile.Write"/>.</exception>
    public int TruncateAfter(long step) => RemoveWhere(line =>
        line.TryGetProperty("step", out var value) && value.ValueKind == JsonValueKind.Number
        && (value.TryGetInt64(out var exact) ? exact > step : value.GetDouble() > step));

    /// <summary>
    /// Drops every line of which <paramref name="remove"/> is true; otherwise as <see cref="TruncateAfter"/>.
    /// </summary>
    public int RemoveWhere(Func<JsonElement, bool> remove)
    {
        var lines = Lines(Path);
        var kept = lines.FindAll(line => !remove(line.Value));
        if (kept.Count == lines.Count) return 0;
        AtomicFile.Write(Path, stream =>
        {
            foreach (var line in kept)
            {
                stream.Write(line.Bytes.Span);
                stream.WriteByte((byte)'\n');
            }
        });
        _file.Dispose();
        _file = OpenAtEnd(Path);
        return lines.Count - kept.Count;
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    private static RecordFile OpenAtEnd(string path)
    {
        FileStream? stream = null;
        try
        {
            stream = new FileStream(
                path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read | FileShare.Delete, bufferSize: 0);
            if (stream.CanSeek) SeekToWholeEnd(stream);
            return new RecordFile(path, stream);
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            stream?.Dispose();
            throw FileFailure.Writing(path, e);
        }
    }

    /// <summary>
    /// Moves to the end behind the last whole line; what a killed writer left of a further one is cut off.
    /// </summary>
    private static void SeekToWholeEnd(FileStream stream)
    {
        var end = stream.Length;
        var tail = new List<byte>();
        var chunk = new byte[4096];
        var start = end;
        while (start > 0)
        {
            var from = Math.Max(0, start - chunk.Length);
            var part = chunk.AsSpan(0, (int)(start - from));
            stream.Position = from;
            stream.ReadExactly(part);
            var newline = part.LastIndexOf((byte)'\n');
            tail.InsertRange(0, part[(newline + 1)..]);
            start = newline >= 0 ? from + newline + 1 : from;
            if (newline >= 0) break;
        }

        stream.Position = end;
        if (tail.Count == 0) return;
        if (TryParse(tail.ToArray(), out _))
        {
            // Whole but for its line end, as an editor may leave it.
            stream.WriteByte((byte)'\n');
            return;
        }

        stream.SetLength(start);
        stream.Position = start;
    }

    private static List<(ReadOnlyMemory<byte> Bytes, JsonElement Value)> Lines(string path)
    {
        ReadOnlyMemory<byte> rest;
        try
        {
            if (!File.Exists(path) && !Directory.Exists(path)) return [];
            // Another process may be appending: share everything.
            using var stream = new FileStream(
                path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var all = new MemoryStream();
            stream.CopyTo(all);
            rest = all.ToArray();
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            throw FileFailure.Reading(path, e);
        }

        var lines = new List<(ReadOnlyMemory<byte>, JsonElement)>();
        for (var number = 1; !rest.IsEmpty; number++)
        {
            var newline = rest.Span.IndexOf((byte)'\n');
            var line = newline >= 0 ? rest[..newline] : rest;
            rest = newline >= 0 ? rest[(newline + 1)..] : default;
            if (line.Span.Trim(" \t\r"u8).IsEmpty) continue;
            if (TryParse(line, out var value)) lines.Add((line, value));
            else if (newline >= 0)
            {
                throw new UserException(
                    $"Line {number} of '{path}' is not a JSON object; correct or delete that line.");
            }
        }

        return lines;
    }

    private static bool TryParse(ReadOnlyMemory<byte> line, out JsonElement value)
    {
        value = default;
        try
        {
            using var document = JsonDocument.Parse(line);
            value = document.RootElement.Clone();
            return value.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static void WriteValue(Utf8JsonWriter json, string name, object? value)
    {
        switch (value)
        {
            case null:
            case double d when !double.IsFinite(d):
            case float f when !float.IsFinite(f):
                json.WriteNullValue();
                break;
            case string text:
                json.WriteStringValue(text);
                break;
            case bool truth:
                json.WriteBooleanValue(truth);
                break;
            case double d:
                json.WriteNumberValue(d);
                break;
            case float f:
                json.WriteNumberValue(f);
                break;
            case decimal m:
                json.WriteNumberValue(m);
                break;
            case ulong u:
                json.WriteNumberValue(u);
                break;
            case long or int or short or sbyte or uint or ushort or byte:
                json.WriteNumberValue(Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture));
                break;
            default:
                throw new ArgumentException(
                    $"the value of '{name}' is a {value.GetType().Name}, expected text, a bool or a number");
        }
    }
}
