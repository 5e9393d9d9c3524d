using GpuEngine.Core;

namespace GpuEngine.Nn.Files;

/// <summary>
/// Turns what the operating system says about a file into one sentence for the person who named the file.
/// </summary>
internal static class FileFailure
{
    /// <summary>
    /// The failed writing of <paramref name="path"/>. <paramref name="neededBytes"/> is the size of the whole file
    /// where it is known; <paramref name="writtenBytes"/> is how much was written before the failure.
    /// </summary>
    public static UserException Writing(string path, Exception cause, long? neededBytes = null, long writtenBytes = 0)
    {
        var folder = FolderOf(path);
        if (IsDiskFull(cause))
        {
            var needed = neededBytes is { } bytes ? $"{bytes:N0} bytes are" : $"more than {writtenBytes:N0} bytes are";
            return new UserException(
                $"Cannot write '{path}': the disk is full, {needed} needed and {Free(folder)} are free; " +
                "free some space or choose another folder.", cause);
        }

        if (Directory.Exists(path))
            return new UserException($"Cannot write '{path}': it is a folder; give the name of a file.", cause);
        if (FileAmongParents(folder) is { } file)
        {
            return new UserException(
                $"Cannot write '{path}': '{file}' is a file, not a folder; choose another folder.", cause);
        }

        if (!Directory.Exists(folder))
        {
            return new UserException(
                $"Cannot write '{path}': the folder '{folder}' does not exist; create it or choose another.", cause);
        }

        if (cause is UnauthorizedAccessException || IsReadOnlyFileSystem(cause))
        {
            return new UserException(
                $"Cannot write '{path}': no permission to write in the folder '{folder}'; " +
                "change its permissions or choose another folder.", cause);
        }

        return new UserException($"Cannot write '{path}': {Reason(cause)}; choose another file.", cause);
    }

    /// <summary>The failed opening or reading of <paramref name="path"/>.</summary>
    public static UserException Reading(string path, Exception cause)
    {
        if (Directory.Exists(path))
            return new UserException($"Cannot read '{path}': it is a folder; give the name of a file.", cause);
        if (cause is FileNotFoundException or DirectoryNotFoundException)
            return new UserException($"Cannot read '{path}': there is no such file; check the name.", cause);
        if (cause is UnauthorizedAccessException)
        {
            return new UserException(
                $"Cannot read '{path}': no permission to read it; change its permissions.", cause);
        }

        return new UserException($"Cannot read '{path}': {Reason(cause)}; choose another file.", cause);
    }

    /// <summary>The failed listing of the files in <paramref name="folder"/>.</summary>
    public static UserException ReadingFolder(string folder, Exception cause) =>
        new($"Cannot read the folder '{folder}': " +
            $"{(cause is UnauthorizedAccessException ? "no permission to read it" : Reason(cause))}; " +
            "change its permissions or choose another folder.", cause);

    /// <summary>Whether the exception is one that a wrong path, a full disk or a permission can cause.</summary>
    public static bool IsFromFileSystem(Exception e) => e is IOException or UnauthorizedAccessException;

    /// <summary>Creates the folder and those above it, or says in one sentence why that is impossible.</summary>
    public static void CreateFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (IsFromFileSystem(e))
        {
            var obstacle = FileAmongParents(Path.GetFullPath(folder));
            var reason = obstacle is not null ? $"'{obstacle}' is a file, not a folder"
                : IsDiskFull(e) ? "the disk is full"
                : e is UnauthorizedAccessException || IsReadOnlyFileSystem(e) ? "no permission to write there"
                : Reason(e);
            throw new UserException($"Cannot create the folder '{folder}': {reason}; choose another folder.", e);
        }
    }

    /// <summary>
    /// Refuses what no file system takes as a name, so that later calls fail only for reasons of the disk.
    /// </summary>
    public static void CheckName(string path)
    {
        if (string.IsNullOrWhiteSpace(path) || path.Contains('\0', StringComparison.Ordinal))
            throw new UserException("A file name is empty or holds a zero character; give the name of a file.");
    }

    // On Unix .NET puts errno into HResult: ENOSPC, and EDQUOT for a full quota. On Windows: ERROR_DISK_FULL and
    // ERROR_HANDLE_DISK_FULL.
    private static bool IsDiskFull(Exception e) => e is IOException && (OperatingSystem.IsWindows()
        ? e.HResult is unchecked((int)0x80070070) or unchecked((int)0x80070027)
        : e.HResult is 28 || (OperatingSystem.IsLinux() && e.HResult is 122));

    private static bool IsReadOnlyFileSystem(Exception e) => e is IOException && (OperatingSystem.IsWindows()
        ? e.HResult is unchecked((int)0x80070013)
        : e.HResult is 30);

    private static string FolderOf(string path) => Path.GetDirectoryName(Path.GetFullPath(path)) ?? path;

    private static string? FileAmongParents(string folder)
    {
        for (var at = folder; !string.IsNullOrEmpty(at); at = Path.GetDirectoryName(at))
        {
            if (File.Exists(at)) return at;
        }

        return null;
    }

    private static string Free(string folder)
    {
        try
        {
            // On Unix any folder names its file system; Windows wants the root of the drive.
            var drive = OperatingSystem.IsWindows() ? Path.GetPathRoot(folder)! : folder;
            return $"{new DriveInfo(drive).AvailableFreeSpace:N0}";
        }
        catch (Exception e) when (IsFromFileSystem(e) || e is ArgumentException)
        {
            return "an unknown number of bytes";
        }
    }

    // .NET's own messages are sentences of their own that repeat the path; the final stop would stand inside ours.
    private static string Reason(Exception e) => e.Message.TrimEnd('.');
}
