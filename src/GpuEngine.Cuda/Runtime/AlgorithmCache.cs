using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;

namespace GpuEngine.Cuda.Runtime;

/// <summary>
/// What was chosen by measurement, in memory and in the folder of compiled kernels: a choice that is made once keeps a problem's bits
/// the same in every run. A file holds the key, the choice, what was measured and a checksum; it appears whole (a rename) or not at
/// all, the first of several writers wins, and a damaged one counts as missing.
/// </summary>
public sealed class AlgorithmCache(string? folder)
{
    private readonly ConcurrentDictionary<string, string> _choices = new();

    /// <summary>The choice for a key of one line; null when none was made, or none that can be read.</summary>
    public string? Find(string key)
    {
        if (_choices.TryGetValue(key, out var known)) return known;
        if (folder is null || Read(key) is not { } choice) return null;
        return _choices.GetOrAdd(key, choice);
    }

    /// <summary>
    /// Keeps a choice unless there is one already, which is returned then: processes that measure at the same time all go on with
    /// the first one's.
    /// </summary>
    /// <param name="key">One line.</param>
    /// <param name="choice">One line.</param>
    /// <param name="measured">For people, any lines.</param>
    public string Publish(string key, string choice, string measured)
    {
        if (folder is not null)
        {
            try
            {
                Write(key, choice, measured);
                choice = Read(key) ?? choice;
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                // A folder that cannot be written to has been told of when kernels were compiled; the choice holds in memory.
            }
        }

        return _choices.GetOrAdd(key, choice);
    }

    /// <summary>Forgets a choice that cannot be followed, on disk too.</summary>
    public void Remove(string key)
    {
        _choices.TryRemove(key, out _);
        if (folder is null) return;
        try
        {
            File.Delete(PathOf(key));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // It stays and is found wanting again.
        }
    }

    /// <summary>Where the choice of a key is kept.</summary>
    internal string PathOf(string key) => Path.Combine(folder!, $"choice-{Hash(key)}.txt");

    private string? Read(string key)
    {
        try
        {
            var path = PathOf(key);
            if (!File.Exists(path)) return null;
            var lines = File.ReadAllLines(path);
            if (lines.Length < 3 || lines[0] != key) return null;
            return lines[2] == Hash($"{lines[0]}\n{lines[1]}") ? lines[1] : null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private void Write(string key, string choice, string measured)
    {
        Directory.CreateDirectory(folder!);
        var temporary = Path.Combine(folder!, $".{Guid.NewGuid():n}.tmp");
        try
        {
            File.WriteAllText(temporary, $"{key}\n{choice}\n{Hash($"{key}\n{choice}")}\n{measured}\n");
            // What is there and whole stays: another process may be running with it.
            var there = Read(key) is not null;
            if (!there) File.Move(temporary, PathOf(key), overwrite: true);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..32];
}
