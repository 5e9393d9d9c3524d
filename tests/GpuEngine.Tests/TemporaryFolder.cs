using System.Diagnostics;
using Xunit;

namespace GpuEngine.Tests;

/// <summary>A folder of its own for one test, deleted afterwards.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder() => Folder = Directory.CreateTempSubdirectory("gpuengine-tests-").FullName;

    public string Folder { get; }

    public string this[string name] => Path.Combine(Folder, name);

    /// <summary>The names of the files in the folder, sorted, hidden ones included.</summary>
    public string[] Names() => [.. Directory.GetFiles(Folder).Select(f => Path.GetFileName(f)).Order()];

    public void Dispose()
    {
        // A test may have closed the folder to writing.
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        Directory.Delete(Folder, recursive: true);
    }
}

/// <summary>
/// A file system of its own, mounted where that is allowed; the test is skipped, with the reason, where not.
/// </summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly TemporaryFolder _mountPoint = new();

    public SmallDisk(string options)
    {
        var error = OperatingSystem.IsLinux()
            ? Run("mount", "-t", "tmpfs", "-o", options, "tmpfs", Folder)
            : "not Linux";
        if (error is null) return;
        _mountPoint.Dispose();
        Assert.Skip($"Needs the right to mount a small tmpfs (run as root with CAP_SYS_ADMIN): {error}");
    }

    public string Folder => _mountPoint.Folder;

    public string this[string name] => _mountPoint[name];

    public void Remount(string options) => Assert.Null(Run("mount", "-o", $"remount,{options}", Folder));

    public void Dispose()
    {
        // Lazily: a file that a failed test left open must not leave the mount behind.
        Run("umount", "-l", Folder);
        _mountPoint.Dispose();
    }

    private static string? Run(string command, params string[] arguments)
    {
        try
        {
            var start = new ProcessStartInfo(command, arguments) { RedirectStandardError = true };
            using var process = Process.Start(start)!;
            var error = process.StandardError.ReadToEnd().Trim();
            process.WaitForExit();
            return process.ExitCode == 0 ? null : $"{command}: {error}";
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return $"{command}: {e.Message}";
        }
    }
}
