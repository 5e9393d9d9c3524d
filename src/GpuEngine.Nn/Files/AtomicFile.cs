using System.Runtime.InteropServices;
using GpuEngine.Core;
using Microsoft.Win32.SafeHandles;

namespace GpuEngine.Nn.Files;

/// <summary>
/// Replaces a file in one step: whoever looks, and whatever fails, sees the old file or the new one, never a part.
/// The content goes to a temporary file in the same folder, is flushed to the disk, and takes the name by a rename.
/// </summary>
public static partial class AtomicFile
{
    private const string Prefix = ".gpuengine-";
    private const string Suffix = ".tmp";

    /// <summary>Writes the file at <paramref name="path"/> through <paramref name="write"/>.</summary>
    /// <param name="path">The file to create or replace. A symbolic link is followed: the file it names is
    /// replaced.</param>
    /// <param name="write">Writes the content; what it throws leaves the old file as it was.</param>
    /// <param name="neededBytes">The size of the whole file where it is known, for the message about a full
    /// disk.</param>
    /// <exception cref="UserException">
    /// The disk is full, the folder is missing or closed to writing, or the path is a folder or a device.
    /// </exception>
    public static void Write(string path, Action<FileStream> write, long? neededBytes = null)
    {
        ArgumentNullException.ThrowIfNull(write);
        FileFailure.CheckName(path);
        var target = Target(path);
        var folder = Path.GetDirectoryName(target)!;
        var temporary = Path.Combine(folder, $"{Prefix}{Guid.NewGuid():N}{Suffix}");
        try
        {
            using var stream = new FileStream(temporary, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.ReadWrite,
                // The open handle is the mark of a living writer (see RemoveLeftovers), so the rename happens before
                // the file is closed; Windows allows that only to a file opened with this share.
                Share = FileShare.Delete,
                BufferSize = 1 << 16,
            });
            write(stream);
            // Before the rename: a journal may otherwise make the new name durable before the data.
            stream.Flush(flushToDisk: true);
            File.Move(temporary, target, overwrite: true);
        }
        catch (Exception e)
        {
            var written = DeleteTemporary(temporary);
            if (FileFailure.IsFromFileSystem(e)) throw FileFailure.Writing(path, e, neededBytes, written);
            throw;
        }

        FlushFolder(folder);
    }

    /// <summary>Replaces the file's content by <paramref name="bytes"/>; errors as <see cref="Write"/>.</summary>
    public static void WriteAllBytes(string path, ReadOnlyMemory<byte> bytes) =>
        Write(path, stream => stream.Write(bytes.Span), bytes.Length);

    /// <summary>
    /// Replaces the file's content by <paramref name="text"/> as UTF-8; errors as <see cref="Write"/>.
    /// </summary>
    public static void WriteAllText(string path, string text) =>
        WriteAllBytes(path, System.Text.Encoding.UTF8.GetBytes(text));

    /// <summary>
    /// Deletes the temporary files that killed writers left in <paramref name="folder"/>, and only those: a file that a
    /// living process is still writing is locked and stays. Returns how many were deleted; a missing folder has none.
    /// </summary>
    /// <exception cref="UserException">The folder cannot be read.</exception>
    public static int RemoveLeftovers(string folder)
    {
        if (!Directory.Exists(folder)) return 0;
        string[] files;
        try
        {
            files = Directory.GetFiles(folder, $"{Prefix}*{Suffix}");
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            throw FileFailure.ReadingFolder(folder, e);
        }

        var removed = 0;
        foreach (var file in files)
        {
            try
            {
                // To open it unshared fails while a writer has it open; on Unix this is flock, which a kill releases.
                using var unshared = new FileStream(
                    file, FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
                removed++;
            }
            catch (Exception e) when (FileFailure.IsFromFileSystem(e))
            {
                // Somebody else's work, or not ours to delete: a leftover does no harm.
            }
        }

        return removed;
    }

    private static string Target(string path)
    {
        var target = Path.GetFullPath(path);
        try
        {
            if (new FileInfo(target).LinkTarget is not null)
                target = File.ResolveLinkTarget(target, returnFinalTarget: true)!.FullName;
        }
        catch (IOException e)
        {
            throw FileFailure.Writing(path, e);
        }

        if (Directory.Exists(target) || Path.EndsInDirectorySeparator(target))
            throw new UserException($"Cannot write '{path}': it is a folder; give the name of a file.");

        // A rename over /dev/null, which root may do, would replace the device itself by a file.
        if (!OperatingSystem.IsWindows() && Path.GetDirectoryName(target) is "/dev")
        {
            throw new UserException(
                $"Cannot write '{path}': the folder /dev holds devices, not files; choose another folder.");
        }

        return target;
    }

    /// <summary>Deletes what was written aside and returns how many bytes it held.</summary>
    private static long DeleteTemporary(string temporary)
    {
        try
        {
            var file = new FileInfo(temporary);
            var length = file.Exists ? file.Length : 0;
            file.Delete();
            return length;
        }
        catch (Exception e) when (FileFailure.IsFromFileSystem(e))
        {
            // The first failure is the one to report.
            return 0;
        }
    }

    /// <summary>
    /// Makes the rename itself durable. A crash without it may bring back the old file, whole; with it, files that are
    /// deleted after this write (old checkpoints) cannot be gone while the new one is not there yet.
    /// </summary>
    private static void FlushFolder(string folder)
    {
        // .NET opens no folders, so open(2) is called directly; Windows has no such call and its journal orders
        // renames.
        if (!OperatingSystem.IsLinux()) return;
        const int closeOnExec = 0x80000;
        using var handle = new SafeFileHandle(Open(folder, closeOnExec), ownsHandle: true);
        if (handle.IsInvalid) return;
        try
        {
            RandomAccess.FlushToDisk(handle);
        }
        catch (IOException)
        {
            // The file is whole and in place; a file system that cannot flush a folder is no reason to fail.
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
