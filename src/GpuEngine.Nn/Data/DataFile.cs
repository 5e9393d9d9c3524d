using System.IO.Compression;
using GpuEngine.Core;

namespace GpuEngine.Nn.Data;

/// <summary>
/// One data file, read front to back; plain, gzip (.gz) or Brotli (.br). Whatever is wrong with it becomes one sentence
/// that names the file.
/// </summary>
internal sealed class DataFile : IDisposable
{
    private readonly Stream _stream;
    private readonly string _packing;

    private DataFile(string path, Stream stream, string packing) => (Path, _stream, _packing) = (path, stream, packing);

    public string Path { get; }

    /// <summary>Unpacked bytes read so far.</summary>
    public long Position { get; private set; }

    /// <summary>
    /// Finds every file of a data set, each as NAME, NAME.gz or NAME.br, in <paramref name="dataDir"/> or in one of
    /// <paramref name="folders"/> in it.
    /// </summary>
    /// <returns>One path per name.</returns>
    public static string[] Locate(
        string dataset, string dataDir, IReadOnlyList<string> folders, IReadOnlyList<string> names)
    {
        if (!Directory.Exists(dataDir))
        {
            var what = File.Exists(dataDir) ? "is a file, not a directory" : "does not exist";
            throw new UserException(
                $"The data directory '{dataDir}' for data set '{dataset}' {what}; {Remedy(dataset, dataDir)}.");
        }

        var paths = new string?[names.Count];
        for (var i = 0; i < names.Count; i++)
        {
            paths[i] = (from folder in folders.Prepend("")
                        from suffix in new[] { "", ".gz", ".br" }
                        let path = System.IO.Path.Combine(dataDir, folder, names[i] + suffix)
                        where File.Exists(path)
                        select path).FirstOrDefault();
        }

        var missing = names.Where((_, i) => paths[i] is null).ToArray();
        if (missing.Length == 0) return paths!;
        var places = folders.Prepend("").Select(folder => $"'{System.IO.Path.Combine(dataDir, folder)}'");
        throw new UserException(
            $"Data set '{dataset}' lacks {string.Join(", ", missing)} (plain, .gz or .br), looked for in "
            + $"{string.Join(", ", places)}; {Remedy(dataset, dataDir)}.");
    }

    /// <exception cref="UserException">The file cannot be opened.</exception>
    public static DataFile Open(string path)
    {
        try
        {
            var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 16);
            return System.IO.Path.GetExtension(path) switch
            {
                ".gz" => new DataFile(path, new GZipStream(file, CompressionMode.Decompress), "gzip"),
                ".br" => new DataFile(path, new BrotliStream(file, CompressionMode.Decompress), "Brotli"),
                _ => new DataFile(path, file, ""),
            };
        }
        catch (UnauthorizedAccessException e)
        {
            throw new UserException($"Data file '{path}' may not be read; give this user read permission.", e);
        }
        catch (IOException e)
        {
            throw new UserException($"Data file '{path}' cannot be opened ({e.Message.TrimEnd('.')}).", e);
        }
    }

    /// <summary>Fills <paramref name="destination"/>.</summary>
    /// <param name="destination">Receives the next bytes.</param>
    /// <param name="expected">Unpacked size that the whole file must have, for the message.</param>
    /// <exception cref="UserException">The file ends before, or is corrupt.</exception>
    public void Read(Span<byte> destination, long expected)
    {
        while (destination.Length > 0)
        {
            var got = ReadSome(destination);
            if (got == 0)
            {
                throw new UserException(
                    $"Data file '{Path}' is truncated: {expected} {Unpacked}bytes expected, {Position} found; "
                    + "fetch the file again.");
            }

            Position += got;
            destination = destination[got..];
        }
    }

    /// <exception cref="UserException">There are more bytes than expected.</exception>
    public void ReadEnd()
    {
        Span<byte> more = stackalloc byte[1];
        if (ReadSome(more) == 0) return;
        throw new UserException(
            $"Data file '{Path}' is too long: {Position} {Unpacked}bytes expected, more found; fetch the file again.");
    }

    /// <summary>Runs one reader per file on all cores; of several errors the first file's is thrown.</summary>
    public static T[] ReadAll<T>(IReadOnlyList<string> paths, Func<DataFile, int, T> read)
    {
        var results = new T[paths.Count];
        var errors = new Exception?[paths.Count];
        Parallel.For(0, paths.Count, i =>
        {
            try
            {
                using var file = Open(paths[i]);
                results[i] = read(file, i);
            }
            catch (UserException e)
            {
                errors[i] = e;
            }
        });
        var first = errors.FirstOrDefault(e => e is not null);
        return first is null ? results : throw first;
    }

    public void Dispose() => _stream.Dispose();

    private string Unpacked => _packing.Length == 0 ? "" : "unpacked ";

    private int ReadSome(Span<byte> destination)
    {
        try
        {
            return _stream.Read(destination);
        }
        catch (Exception e) when (e is InvalidDataException or InvalidOperationException or IOException)
        {
            throw new UserException(
                _packing.Length == 0
                    ? $"Data file '{Path}' cannot be read after byte {Position} ({e.Message.TrimEnd('.')})."
                    : $"Data file '{Path}' is corrupt or truncated: its {_packing} data cannot be unpacked after "
                      + $"{Position} bytes; fetch the file again.",
                e);
        }
    }

    private static string Remedy(string dataset, string dataDir) =>
        $"run 'tools/download-data {dataset} --data-dir {dataDir}' or give the folder that holds the files with "
        + "--data-dir";
}
