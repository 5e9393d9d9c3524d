using GpuEngine.Core;
using GpuEngine.Nn.Files;
using Xunit;

namespace GpuEngine.Tests.Files;

public class CheckpointFolderTests
{
    [Fact]
    public void Names_and_lists_the_newest_first()
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        Assert.Empty(folder.List());
        Assert.Equal(run["checkpoints/step-00001234.safetensors"], folder.PathOf(1234));
        // Beyond eight digits names grow; the order is that of the numbers, not of the letters.
        foreach (var step in new long[] { 2, 99_999_999, 100_000_000, 1 }) folder.Save(step, Weights(step));
        string[] others =
            ["step-2.safetensors", "step-0000000x.safetensors", "step-00000003.txt", "step-.safetensors"];
        foreach (var other in others)
            File.WriteAllText(Path.Combine(folder.Folder, other), "");
        Assert.Equal([100_000_000, 99_999_999, 2, 1], folder.List().Select(c => c.Step));
        Assert.All(folder.List(), c => Assert.Equal(folder.PathOf(c.Step), c.Path));
    }

    [Fact]
    public void The_newest_whole_one_is_found_and_the_broken_ones_are_named()
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        foreach (var step in new long[] { 100, 200, 300, 400, 500 }) folder.Save(step, Weights(step));
        Assert.Equal("Resuming from step 500.", folder.NewestWhole().Sentence);

        Cut(folder.PathOf(500));
        Flip(folder.PathOf(400));
        File.WriteAllBytes(folder.PathOf(300), SafetensorsTests.Bytes("{}", []));
        var resume = folder.NewestWhole();
        Assert.Equal(200, resume.Newest!.Value.Step);
        Assert.Equal([500, 400, 300], resume.Skipped.Select(s => s.Step));
        Assert.Contains("cut short", resume.Skipped[0].Reason);
        Assert.Contains("checksum is", resume.Skipped[1].Reason);
        Assert.Equal("it has no checksum", resume.Skipped[2].Reason);
        Assert.StartsWith("Skipped step 500 (Cannot read", resume.Sentence);
        Assert.EndsWith("; resuming from step 200.", resume.Sentence);
    }

    [Fact]
    public void Without_a_whole_one_there_is_nothing_to_resume_from()
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        Assert.Null(folder.NewestWhole().Newest);
        Assert.Equal("There is no whole checkpoint.", folder.NewestWhole().Sentence);
        folder.Save(1, Weights(1));
        Cut(folder.PathOf(1));
        Assert.Null(folder.NewestWhole().Newest);
        Assert.EndsWith("; there is no whole checkpoint.", folder.NewestWhole().Sentence);
    }

    [Fact]
    public void Pruning_keeps_the_newest()
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        Assert.Empty(folder.Prune(1));
        for (var step = 1; step <= 5; step++) folder.Save(step, Weights(step));
        Assert.Empty(folder.Prune(5));
        Assert.Equal([2, 1], folder.Prune(3).Select(c => c.Step));
        Assert.Equal([5, 4, 3], folder.List().Select(c => c.Step));
        Assert.Throws<ArgumentOutOfRangeException>(() => folder.Prune(0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Pruning_never_deletes_the_last_whole_one(bool sameProcess)
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        for (var step = 1; step <= 5; step++) folder.Save(step, Weights(step));
        // The newest two are damaged afterwards, the last of them in a way that keeps its length.
        Cut(folder.PathOf(4));
        Flip(folder.PathOf(5));
        if (!sameProcess) folder = new CheckpointFolder(run.Folder);
        Assert.Equal([2, 1], folder.Prune(2).Select(c => c.Step));
        Assert.Equal(3, folder.NewestWhole().Newest!.Value.Step);
    }

    [Fact]
    public void Where_none_is_whole_pruning_deletes_none()
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        for (var step = 1; step <= 3; step++)
        {
            folder.Save(step, Weights(step));
            Cut(folder.PathOf(step));
        }

        Assert.Empty(folder.Prune(1));
        Assert.Equal(3, folder.List().Count);
    }

    [Fact]
    public void A_run_killed_while_saving_resumes_from_the_one_before_and_is_cleaned()
    {
        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        folder.Save(1, Weights(1));
        var halfWritten = "";
        folder.Save(2, new SafetensorsWriter().Add("w", SafetensorsDtype.U8, [1], stream =>
        {
            halfWritten = Directory.GetFiles(folder.Folder).Single(f => f != folder.PathOf(1));
            stream.WriteByte(1);
        }));
        // The kill: the file of step 2 never got its name, the temporary is still there.
        File.Move(folder.PathOf(2), halfWritten);
        Cut(halfWritten);
        Assert.Equal("Resuming from step 1.", folder.NewestWhole().Sentence);
        Assert.Equal(1, folder.RemoveLeftovers());
        Assert.Equal([folder.PathOf(1)], Directory.GetFiles(folder.Folder));
    }

    [Fact]
    public void A_file_in_the_place_of_the_folder_is_named()
    {
        using var run = new TemporaryFolder();
        File.WriteAllText(run["checkpoints"], "");
        var e = Assert.Throws<UserException>(() => new CheckpointFolder(run.Folder).Save(1, Weights(1)));
        Assert.Equal(
            $"Cannot create the folder '{run["checkpoints"]}': '{run["checkpoints"]}' is a file, not a folder; " +
            "choose another folder.",
            e.Message);
    }

    [Fact]
    public void A_folder_that_cannot_be_read_is_named()
    {
        if (OperatingSystem.IsWindows() || Environment.IsPrivilegedProcess)
        {
            Assert.Skip("Needs Unix permissions and a user other than root, who passes over them.");
            return;
        }

        using var run = new TemporaryFolder();
        var folder = new CheckpointFolder(run.Folder);
        folder.Save(1, Weights(1));
        File.SetUnixFileMode(folder.Folder, UnixFileMode.None);
        try
        {
            var expected = $"Cannot read the folder '{folder.Folder}': no permission to read it; " +
                "change its permissions or choose another folder.";
            Assert.Equal(expected, Assert.Throws<UserException>(() => folder.NewestWhole()).Message);
            Assert.Equal(expected, Assert.Throws<UserException>(() => folder.RemoveLeftovers()).Message);
        }
        finally
        {
            File.SetUnixFileMode(
                folder.Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    private static SafetensorsWriter Weights(long step) => new SafetensorsWriter()
        .AddMetadata("step", $"{step}")
        .Add<float>("w", SafetensorsDtype.F32, [3], new float[] { step, step, step });

    private static void Cut(string path)
    {
        using var stream = new FileStream(path, FileMode.Open);
        stream.SetLength(stream.Length - 1);
    }

    private static void Flip(string path)
    {
        var bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
        // Coarse clocks of file systems must not make the change look like no change.
        File.SetLastWriteTimeUtc(path, File.GetLastWriteTimeUtc(path).AddSeconds(2));
    }
}
