namespace GpuEngine.Nn.Files;

/// <summary>
/// A file that grows by whole records. Each goes out in one unbuffered write, so that other readers, and a kill, see it
/// whole or, at worst, half of the last one; a record that a full disk cuts is taken back.
/// </summary>
internal sealed class RecordFile(string path, FileStream stream) : IDisposable
{
    /// <summary>The stream must be unbuffered and stand at its end.</summary>
    public void Append(ReadOnlySpan<byte> record)
    {
        var end = stream.CanSeek ? stream.Position : 0;
        try
        {
            stream.Write(record);
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            TakeBack(end);
            throw FileFailure.Writing(path, e, record.Length);
        }
    }

    /// <summary>Waits until everything is on the disk itself.</summary>
    public void FlushToDisk()
    {
        try
        {
            stream.Flush(flushToDisk: true);
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            throw FileFailure.Writing(path, e);
        }
    }

    public void Dispose() => stream.Dispose();

    private void TakeBack(long end)
    {
        if (!stream.CanSeek) return;
        try
        {
            stream.SetLength(end);
            stream.Position = end;
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            // The half record stays; readers pass over a half last one. The first failure is the one to report.
        }
    }
}
