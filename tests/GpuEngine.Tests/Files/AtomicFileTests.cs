using GpuEngine.Core;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.Files;

public class AtomicFileTests
{
    [Fact]
    public void Creates_and_replaces_and_leaves_nothing_else()
    {
        using var folder = new TemporaryFolder();
        AtomicFile.WriteAllText(folder["a.txt"], "a longer first text");
        AtomicFile.WriteAllText(folder["a.txt"], "second");
        Assert.Equal("second", File.ReadAllText(folder["a.txt"]));
        Assert.Equal(["a.txt"], folder.Names());
    }

    [Fact]
    public void Until_the_end_the_old_file_is_there_whole()
    {
        using var folder = new TemporaryFolder();
        AtomicFile.WriteAllText(folder["a.txt"], "old");
        AtomicFile.Write(folder["a.txt"], stream =>
        {
            stream.Write("new"u8);
            stream.Flush();
            Assert.Equal("old", File.ReadAllText(folder["a.txt"]));
        });
        Assert.Equal("new", File.ReadAllText(folder["a.txt"]));
    }

    [Fact]
    public void A_writer_that_fails_changes_nothing_and_its_exception_passes()
    {
        using var folder = new TemporaryFolder();
        AtomicFile.WriteAllText(folder["a.txt"], "old");
        Assert.Throws<InvalidOperationException>(() => AtomicFile.Write(folder["a.txt"], stream =>
        {
            stream.Write(new byte[100_000]);
            throw new InvalidOperationException("on purpose");
        }));
        Assert.Equal("old", File.ReadAllText(folder["a.txt"]));
        Assert.Equal(["a.txt"], folder.Names());
    }

    [Fact]
    public void A_symbolic_link_stays_a_link()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["elsewhere"]);
        File.WriteAllText(folder["elsewhere/real.txt"], "old");
        File.CreateSymbolicLink(folder["link.txt"], folder["elsewhere/real.txt"]);
        AtomicFile.WriteAllText(folder["link.txt"], "new");
        Assert.Equal("new", File.ReadAllText(folder["elsewhere/real.txt"]));
        Assert.NotNull(new FileInfo(folder["link.txt"]).LinkTarget);
    }

    [Fact]
    public void Wrong_paths_are_told_apart_in_one_sentence()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["file"], "");
        Directory.CreateDirectory(folder["sub"]);
        File.CreateSymbolicLink(folder["round"], folder["round"]);
        Refused(folder["missing/a.txt"], $"the folder '{folder["missing"]}' does not exist; create it");
        Refused(folder["sub"], "it is a folder; give the name of a file");
        Refused(folder["new/"], "it is a folder; give the name of a file");
        Refused(folder["file/a.txt"], $"'{folder["file"]}' is a file, not a folder");
        Refused(folder["file/b/a.txt"], $"'{folder["file"]}' is a file, not a folder");
        Refused(folder["round"], "choose another file");
        Refused("", "empty");
        Refused("a\0b", "zero character");
        // Longer names than 255 bytes do not exist on any common file system.
        Refused(folder[new string('x', 300)], "choose another file");
        Assert.Equal(["file", "round"], folder.Names());
    }

    [Fact]
    public void A_device_is_not_replaced_by_a_file()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Needs the folder /dev.");
        // Never a real device: were the guard broken, root would replace it for the whole machine.
        var path = $"/dev/gpuengine-no-device-{Guid.NewGuid():N}";
        try
        {
            Refused(path, "the folder /dev holds devices, not files");
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void A_full_disk_says_what_is_needed_and_what_is_free_and_keeps_the_old_file()
    {
        using var disk = new SmallDisk("size=64k");
        AtomicFile.WriteAllText(disk["a.bin"], "old");
        var e = Assert.Throws<UserException>(() => AtomicFile.WriteAllBytes(disk["a.bin"], new byte[100_000]));
        // 64 KiB less the one page of the old file.
        Assert.Equal(
            $"Cannot write '{disk["a.bin"]}': the disk is full, 100,000 bytes are needed and 61,440 are free; " +
            "free some space or choose another folder.",
            e.Message);
        var unknown = Assert.Throws<UserException>(() => AtomicFile.Write(disk["a.bin"], stream =>
        {
            for (var i = 0; i < 1000; i++) stream.Write(new byte[1000]);
        }));
        Assert.Contains("the disk is full, more than ", unknown.Message);
        Assert.Equal("old", File.ReadAllText(disk["a.bin"]));
        Assert.Equal([disk["a.bin"]], Directory.GetFiles(disk.Folder));
    }

    [Fact]
    public void A_folder_without_write_permission_is_named()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Needs Unix permissions.");
        }
        else if (Environment.IsPrivilegedProcess)
        {
            // Root passes over permission bits, but not even root may create a file in sysfs.
            Assert.SkipUnless(Directory.Exists("/sys/kernel"), "Running as root, and no /sys is there to refuse.");
            Refused("/sys/kernel/a.txt", "no permission to write in the folder '/sys/kernel'; change its permissions");
        }
        else
        {
            using var folder = new TemporaryFolder();
            File.SetUnixFileMode(folder.Folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            Refused(folder["a.txt"], $"no permission to write in the folder '{folder.Folder}'; change its permissions");
        }
    }

    [Fact]
    public void A_read_only_disk_is_a_missing_permission()
    {
        using var disk = new SmallDisk("size=64k");
        AtomicFile.WriteAllText(disk["a.txt"], "old");
        disk.Remount("ro");
        Refused(disk["a.txt"], $"no permission to write in the folder '{disk.Folder}'");
        Assert.Equal("old", File.ReadAllText(disk["a.txt"]));
    }

    [Fact]
    public void Leftovers_of_killed_writers_go_and_nothing_else_does()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["other.tmp"], "not ours");
        var temporary = "";
        AtomicFile.Write(folder["a.txt"], stream =>
        {
            temporary = folder.Names().Single(name => name != "other.tmp");
            // While the writer lives, its file is not a leftover.
            Assert.Equal(0, AtomicFile.RemoveLeftovers(folder.Folder));
            Assert.Contains(temporary, folder.Names());
            stream.Write("done"u8);
        });
        // What a kill in the middle leaves: the same name, half the bytes, and no process that holds it.
        File.WriteAllText(folder[temporary], "do");
        Assert.Equal(1, AtomicFile.RemoveLeftovers(folder.Folder));
        Assert.Equal(["a.txt", "other.tmp"], folder.Names());
        Assert.Equal("done", File.ReadAllText(folder["a.txt"]));
        Assert.Equal(0, AtomicFile.RemoveLeftovers(folder["missing"]));
    }

    private static void Refused(string path, string expected)
    {
        var e = Assert.Throws<UserException>(() => AtomicFile.WriteAllText(path, "text"));
        Assert.Contains(expected, e.Message);
        Assert.DoesNotContain('\n', e.Message);
    }
}
