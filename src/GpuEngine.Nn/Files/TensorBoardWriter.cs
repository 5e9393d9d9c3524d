using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using GpuEngine.Core;

namespace GpuEngine.Nn.Files;

/// <summary>
/// Writes an event file that TensorBoard shows: TFRecord frames, each with one protobuf Event
/// (tensorboard/compat/proto: event.proto, summary.proto, histogram.proto). A record goes out in one write; a killed
/// run leaves at worst half a last record, which TensorBoard passes over. One thread at a time.
/// </summary>
public sealed class TensorBoardWriter : IDisposable
{
    private readonly RecordFile _file;
    private readonly TimeProvider _clock;
    private readonly ArrayBufferWriter<byte> _record = new(512);

    /// <summary>Creates a new event file in <paramref name="folder"/>, and the folder where it is missing.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="purgeStep">
    /// For a resumed run: TensorBoard drops what earlier files of the folder say from this step on, as torch's
    /// <c>SummaryWriter(purge_step=...)</c>.
    /// </param>
    /// <param name="clock">The source of wall times; the system's where null.</param>
    /// <exception cref="UserException">The folder or the file cannot be created.</exception>
    public TensorBoardWriter(string folder, long? purgeStep = null, TimeProvider? clock = null)
    {
        FileFailure.CheckName(folder);
        _clock = clock ?? TimeProvider.System;
        FileFailure.CreateFolder(folder);
        (Path, _file) = Create(folder, _clock.GetUtcNow().ToUnixTimeSeconds());
        Write(Event(purgeStep ?? 0).Text(3, "brain.Event:2"));
        const int sessionStart = 1;
        if (purgeStep is { } step) Write(Event(step).Message(7, new ProtobufMessage().Varint(1, sessionStart)));
    }

    /// <summary>The event file: <c>events.out.tfevents.SECONDS.HOST.PID.N</c>.</summary>
    public string Path { get; }

    /// <summary>Adds one point of a curve; NaN and infinities are shown by TensorBoard as such.</summary>
    /// <exception cref="UserException">The disk is full or the file cannot be written.</exception>
    public void AddScalar(string tag, float value, long step) => Write(Summary(tag, step, v => v.Float(2, value)));

    /// <summary>
    /// Adds the distribution of the finite <paramref name="values"/> in TensorFlow's default buckets; nothing is
    /// written when no value is finite.
    /// </summary>
    /// <exception cref="UserException">As <see cref="AddScalar"/>.</exception>
    public void AddHistogram(string tag, ReadOnlySpan<float> values, long step)
    {
        var histogram = new TensorBoardHistogram();
        histogram.Add(values);
        if (histogram.Count > 0) Write(Summary(tag, step, v => v.Message(5, histogram.ToMessage())));
    }

    /// <summary>Adds a text (Markdown), shown on the page "Text".</summary>
    /// <exception cref="UserException">As <see cref="AddScalar"/>.</exception>
    public void AddText(string tag, string text, long step)
    {
        const int dtString = 7;
        var shape = new ProtobufMessage().Message(2, new ProtobufMessage().Varint(1, 1));
        var tensor = new ProtobufMessage().Varint(1, dtString).Message(2, shape).Text(8, text);
        var metadata = new ProtobufMessage().Message(1, new ProtobufMessage().Text(1, "text"));
        // The text plug-in of TensorBoard knows its series by this ending.
        Write(Summary($"{tag}/text_summary", step, v => v.Message(8, tensor).Message(9, metadata)));
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    private static (string Path, RecordFile File) Create(string folder, long seconds)
    {
        for (var n = 0; ; n++)
        {
            var name = string.Create(
                CultureInfo.InvariantCulture,
                $"events.out.tfevents.{seconds:D10}.{Environment.MachineName}.{Environment.ProcessId}.{n}");
            var path = System.IO.Path.Combine(folder, name);
            try
            {
                var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
                return (path, new RecordFile(path, stream));
            }
            catch (IOException) when (File.Exists(path))
            {
                // A second writer within the same second takes the next number.
            }
            catch (Exception e) when (FileFailure.IsFromFileSystem(e))
            {
                throw FileFailure.Writing(path, e);
            }
        }
    }

    private ProtobufMessage Event(long step)
    {
        var seconds = (_clock.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds;
        return new ProtobufMessage().Double(1, seconds).Varint(2, step);
    }

    private ProtobufMessage Summary(string tag, long step, Action<ProtobufMessage> addValue)
    {
        var value = new ProtobufMessage().Text(1, tag);
        addValue(value);
        return Event(step).Message(5, new ProtobufMessage().Message(1, value));
    }

    /// <summary>
    /// One TFRecord: length (8 bytes), its masked CRC, the data, their masked CRC; all little-endian.
    /// </summary>
    private void Write(ProtobufMessage message)
    {
        _record.ResetWrittenCount();
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, message.Bytes.Length);
        _record.Write(length);
        WriteCrc(length);
        _record.Write(message.Bytes);
        WriteCrc(message.Bytes);
        _file.Append(_record.WrittenSpan);
    }

    private void WriteCrc(ReadOnlySpan<byte> data)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_record.GetSpan(4), Crc32C.Masked(data));
        _record.Advance(4);
    }
}
