using System.Globalization;
using GpuEngine.Core;

namespace GpuEngine.Nn.Files;

/// <summary>One checkpoint file, named after its training step.</summary>
public readonly record struct Checkpoint(long Step, string Path);

/// <summary>A checkpoint that is not whole, and why.</summary>
public readonly record struct SkippedCheckpoint(long Step, string Path, string Reason);

/// <summary>
/// Where a run can go on: the newest whole checkpoint, if any, and the newer ones that are not whole.
/// </summary>
public sealed record ResumePoint(Checkpoint? Newest, IReadOnlyList<SkippedCheckpoint> Skipped)
{
    /// <summary>One line for the person who resumes: what was skipped and why, and where the run goes on.</summary>
    public string Sentence
    {
        get
        {
            var outcome = Newest is { } newest ? $"resuming from step {newest.Step}" : "there is no whole checkpoint";
            if (Skipped.Count == 0) return $"{char.ToUpperInvariant(outcome[0])}{outcome[1..]}.";
            var skipped = Skipped.Select(s => $"step {s.Step} ({s.Reason.TrimEnd('.')})");
            return $"Skipped {string.Join(", ", skipped)}; {outcome}.";
        }
    }
}

/// <summary>
/// The folder <c>RUN/checkpoints</c> with files <c>step-00001234.safetensors</c>. A checkpoint is whole when its file
/// opens and carries a checksum that agrees.
/// </summary>
public sealed class CheckpointFolder
{
    private const string Prefix = "step-";
    private const string Suffix = ".safetensors";

    // What this object wrote itself, flushed and renamed: pruning need not read it back.
    private (string Path, long Bytes, DateTime Written)? _saved;

    /// <summary>
    /// The checkpoints of the run in <paramref name="runFolder"/>; nothing is created before the first save.
    /// </summary>
    public CheckpointFolder(string runFolder)
    {
        FileFailure.CheckName(runFolder);
        Folder = System.IO.Path.Combine(runFolder, "checkpoints");
    }

    /// <summary>The folder that holds the files.</summary>
    public string Folder { get; }

    /// <summary>The file of a step.</summary>
    public string PathOf(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        var name = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{step:D8}{Suffix}");
        return System.IO.Path.Combine(Folder, name);
    }

    /// <summary>Every checkpoint file, newest step first, whole or not; other files are passed over.</summary>
    /// <exception cref="UserException">The folder cannot be read.</exception>
    public IReadOnlyList<Checkpoint> List()
    {
        if (!Directory.Exists(Folder)) return [];
        try
        {
            var found = new List<Checkpoint>();
            foreach (var path in Directory.GetFiles(Folder, $"{Prefix}*{Suffix}"))
            {
                var digits = System.IO.Path.GetFileName(path)[Prefix.Length..^Suffix.Length];
                // The name must be the one this folder gives that step, so that two files cannot mean the same step.
                if (long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var step)
                    && System.IO.Path.GetFileName(PathOf(step)) == System.IO.Path.GetFileName(path))
                {
                    found.Add(new Checkpoint(step, path));
                }
            }

            found.Sort((a, b) => b.Step.CompareTo(a.Step));
            return found;
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            throw FileFailure.ReadingFolder(Folder, e);
        }
    }

    /// <summary>Writes a checkpoint, creating the folder where need be, and returns it.</summary>
    /// <exception cref="UserException">As <see cref="AtomicFile.Write"/>.</exception>
    public Checkpoint Save(long step, SafetensorsWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        var path = PathOf(step);
        FileFailure.CreateFolder(Folder);
        writer.Save(path);
        var file = new FileInfo(path);
        _saved = (path, file.Length, file.LastWriteTimeUtc);
        return new Checkpoint(step, path);
    }

    /// <summary>Reads the checkpoints from the newest on until one is whole.</summary>
    /// <exception cref="UserException">The folder cannot be read.</exception>
    public ResumePoint NewestWhole()
    {
        var skipped = new List<SkippedCheckpoint>();
        foreach (var checkpoint in List())
        {
            if (Flaw(checkpoint.Path) is not { } reason) return new ResumePoint(checkpoint, skipped);
            skipped.Add(new SkippedCheckpoint(checkpoint.Step, checkpoint.Path, reason));
        }

        return new ResumePoint(null, skipped);
    }

    /// <summary>
    /// Deletes all but the newest <paramref name="keep"/> checkpoints, and the leftovers of killed writers. Where none
    /// of those is whole, the newest whole one below them is kept too; where none at all is whole, nothing is deleted.
    /// Returns what was deleted.
    /// </summary>
    /// <exception cref="UserException">The folder cannot be read, or a file cannot be deleted.</exception>
    public IReadOnlyList<Checkpoint> Prune(int keep)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(keep, 1);
        RemoveLeftovers();
        var all = List();
        if (all.Count <= keep) return [];
        var whole = all.Where(c => IsOwnSave(c.Path) || Flaw(c.Path) is null).Take(1).ToList();
        if (whole.Count == 0) return [];
        var deleted = new List<Checkpoint>();
        foreach (var checkpoint in all.Skip(keep))
        {
            if (whole.Contains(checkpoint)) continue;
            try
            {
                File.Delete(checkpoint.Path);
            }
            catch (Exception e) when (FileFailure.IsFromFileSystem(e))
            {
                throw new UserException(
                    $"Cannot delete the old checkpoint '{checkpoint.Path}': {e.Message.TrimEnd('.')}; " +
                    "change the permissions of its folder.", e);
            }

            deleted.Add(checkpoint);
        }

        return deleted;
    }

    /// <summary>Deletes what killed writers left in the folder; returns how many files that were.</summary>
    public int RemoveLeftovers() => AtomicFile.RemoveLeftovers(Folder);

    /// <summary>Why the file is no whole checkpoint, or null where it is one.</summary>
    private static string? Flaw(string path)
    {
        try
        {
            using var file = SafetensorsFile.Open(path);
            return file.VerifyChecksum() ? null : "it has no checksum";
        }
        catch (UserException e)
        {
            return e.Message;
        }
    }

    private bool IsOwnSave(string path)
    {
        var file = new FileInfo(path);
        return file.Exists && _saved == (path, file.Length, file.LastWriteTimeUtc);
    }
}
